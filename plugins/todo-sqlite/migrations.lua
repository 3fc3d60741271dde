-- The schema's history. Each entry is applied once, in order; add to the end, never edit.

return {
  [[
  create table todo (
    id integer primary key autoincrement,
    title text not null check (length(title) between 1 and 200),
    done integer not null default 0 check (done in (0, 1)),
    created_at text not null default (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
  ) strict
  ]],
  "alter table todo add column due text",
  "create index todo_done on todo(done, id)",
}
