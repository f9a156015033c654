-- Routing rules and A/B variants of links, and the orders of their lists.
alter table links add column routing jsonb;  -- domain::routing::Routing; grows by addition only

create index links_updated on links (org_id, updated_at, id);
create index links_title on links (org_id, lower(title), id);
