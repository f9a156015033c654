// Verifies requests the way the documents' Node.js samples do. Same input and output as verify.py.
// What matters is what each sample hashes: iloveQR's re-serialises the parsed body, the others take it as it came;
// and that the Stripe-like ones keep the last `v1` they see.
const crypto = require("node:crypto");
const fs = require("node:fs");

const hmac = (key, text) => crypto.createHmac("sha256", key).update(text, "utf8");
const same = (a, b) => a.length === b.length && crypto.timingSafeEqual(a, b);
const sameText = (a, b) => same(Buffer.from(a), Buffer.from(b));

const stripeLike = (header) => (headers, body, secret) => {
  const { t, v1 } = Object.fromEntries(headers[header].split(",").map((pair) => pair.split("=")));
  const fresh = Math.abs(Date.now() / 1000 - Number(t)) < 300;
  return fresh && same(Buffer.from(v1, "hex"), hmac(secret, `${t}.${body}`).digest());
};

const checks = {
  inkode: (headers, body, secret) =>
    sameText(headers["X-Inkode-Signature"], `sha256=${hmac(secret, body).digest("hex")}`),
  iloveqr: (headers, body, secret) =>
    sameText(headers["X-Webhook-Signature"], hmac(secret, JSON.stringify(JSON.parse(body))).digest("hex")),
  inklink: (headers, body, secret) => {
    const key = Buffer.from(secret.slice("whsec_".length), "base64");
    const digest = hmac(key, `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`).digest();
    return headers["webhook-signature"]
      .split(/\s+/)
      .map((entry) => entry.split(",", 2))
      .some(([version, mac]) => version === "v1" && same(Buffer.from(mac, "base64"), digest));
  },
  inkr: stripeLike("Inkr-Signature"),
  qrstudio: stripeLike("X-QRStudio-Signature"),
};

const cases = JSON.parse(fs.readFileSync(0, "utf8"));
const wrong = cases.filter(
  ({ dialect, headers, body, secret, genuine }) => checks[dialect](headers, body, secret) !== genuine,
);
console.log(wrong.map(({ name }) => name).join("\n"));
process.exitCode = wrong.length > 0 ? 1 : 0;
