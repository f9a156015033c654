-- Which job is asking for a customer: should it die on the way, its next try asks for those, too.
alter table billing_customers add column asked_by uuid;
