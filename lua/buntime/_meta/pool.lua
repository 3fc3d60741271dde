--- @meta buntime.core.pool
--- Implemented in runtime/bind/bind_pool.c: what `ctx.pool` reads.

local pool = {}

--- @class buntime.PoolStats
--- @field size integer RUNTIME_POOL_SIZE
--- @field workers integer Processes, of these
--- @field busy integer
--- @field idle integer
--- @field queued integer Requests that wait for a process.
--- @field requests integer Since the server started, as what follows.
--- @field spawned integer
--- @field terminated integer
--- @field killed integer
--- @field timeouts integer
--- @field crashes integer
--- @field rejected integer Answered 503, as the queue was full.

--- As of now; zeros where there is no pool.
--- @return buntime.PoolStats
function pool.stats() end

return pool
