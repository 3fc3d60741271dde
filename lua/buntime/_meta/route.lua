--- @meta buntime.core.route
--- Implemented in runtime/bind/bind_route.c.

local route = {}

--- @class buntime.RouteTree

--- @return buntime.RouteTree
function route.new() end

--- @param tree buntime.RouteTree
--- @param method string "" is every method.
--- @param pattern string
--- @param value integer Not negative.
--- @param counted? boolean Requests that end here are counted under method and pattern.
--- @return boolean? ok
--- @return string? message
function route.add(tree, method, pattern, value, counted) end

--- Finds the route of a request and remembers its parameters on it, in front of those it has.
--- @param tree buntime.RouteTree
--- @param req buntime.Request
--- @param method? string Instead of the request's.
--- @return integer|false|nil value false when the path has other methods only.
function route.find(tree, req, method) end

--- @param tree buntime.RouteTree
--- @param req buntime.Request
--- @return string methods As for Allow; "" when the tree has nothing for the path.
function route.allow(tree, req) end

--- @param req buntime.Request
--- @return integer depth How many parameters are remembered.
function route.depth(req) end

--- Forgets what `find` added since the depth was taken.
--- @param req buntime.Request
--- @param depth integer
function route.rewind(req, depth) end

return route
