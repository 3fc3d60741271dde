local Router = require("buntime.router")
local cron = require("buntime.cron")
local json = require("buntime.json")
local notes = require("notes")
local validate = require("buntime.validate")

local NOTE = {
  type = "object",
  required = { "text" },
  properties = { text = { type = "string", minLength = 1, maxLength = 1000 } },
  additionalProperties = false,
}

return function(config)
  local routes = Router.new()
  local store = notes.new(config.keepDays or 7)
  local job, report

  routes:get("/", function(c)
    return c:json({ notes = json.array(store:list()), next = job and job.next, report = report })
  end)

  routes:post("/", function(c)
    local body = c.req:json()
    local ok, errors = validate.check(body, NOTE)
    if not ok then
      return c:json({ errors = errors }, 422)
    end
    return c:json(store:add(body.text, os.time()), 201)
  end)

  return {
    routes = routes,
    onInit = function(ctx)
      job = cron.schedule(config.schedule or "30 3 * * *", function()
        local now = os.time()
        report = { at = now, removed = store:tidy(now) }
        ctx.logger.info("tidied up", report)
      end, { name = "tidy", timezone = config.timezone })
    end,
  }
end
