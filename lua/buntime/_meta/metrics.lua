--- @meta buntime.core.metrics
--- Implemented in runtime/bind/bind_metrics.c; there for the control plane's VM alone.

local metrics = {}

--- @return string page In Prometheus' text format 0.0.4.
function metrics.page() end

return metrics
