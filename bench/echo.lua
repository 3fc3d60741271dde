-- For wrk: POST of bench/body.json.
local file = assert(io.open("bench/body.json", "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
file:close()
