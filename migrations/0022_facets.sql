-- The facets of a day's visits as bytes in place of a JSON document: counting reads and writes some thousand of them a
-- second, and reading and writing JSON was most of what that took. The bytes are postcard's (its wire format 1): the number
-- of facets, then each with its name, the number of its values, and each value with its visits and unique visitors.

drop view visit_hours;

create function pg_temp.varint(n bigint) returns bytea language plpgsql as $$
declare
  bytes bytea := '';
begin
  while n >= 128 loop
    bytes := bytes || set_byte('\x00', 0, (n & 127)::int | 128);
    n := n >> 7;
  end loop;
  return bytes || set_byte('\x00', 0, n::int);
end $$;

create function pg_temp.text_bytes(t text) returns bytea language sql as $$
  select pg_temp.varint(octet_length(convert_to(t, 'utf8'))) || convert_to(t, 'utf8')
$$;

create function pg_temp.map_bytes(entries bytea[]) returns bytea language sql as $$
  select pg_temp.varint(coalesce(cardinality(entries), 0))
         || coalesce((select string_agg(e, ''::bytea order by n) from unnest(entries) with ordinality as u(e, n)), '')
$$;

-- Numbers with a sign are doubled (zigzag); none of these is below nought.
create function pg_temp.facets_bytes(facets jsonb) returns bytea language sql as $$
  select pg_temp.map_bytes((
    select array_agg(
      pg_temp.text_bytes(f.key) || pg_temp.map_bytes((
        select array_agg(
          pg_temp.text_bytes(v.key) || pg_temp.varint(2 * (v.value ->> 0)::bigint) || pg_temp.varint(2 * (v.value ->> 1)::bigint))
        from jsonb_each(f.value) v)))
    from jsonb_each(facets) f))
$$;

alter table visit_days alter column facets type bytea using pg_temp.facets_bytes(facets);
comment on column visit_days.facets is 'facet -> value -> [visits, unique visitors], as postcard writes it';
