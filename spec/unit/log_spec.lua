describe("log", function()
  local log, lines

  before_each(function()
    lines = {}
    package.loaded["buntime.log"] = nil
    package.loaded["buntime.core.sys"] = {
      log = function(level, message, fields)
        table.insert(lines, { level = level, message = message, fields = fields })
      end,
    }
    log = require("buntime.log")
  end)

  after_each(function()
    package.loaded["buntime.log"] = nil
    package.loaded["buntime.core.sys"] = nil
  end)

  it("passes level, message and fields on", function()
    local fields = { a = 1 }
    for _, level in ipairs({ "debug", "info", "warn", "error" }) do
      log[level](level .. "!", fields)
    end
    assert.equal(4, #lines)
    assert.same({ level = "warn", message = "warn!", fields = fields }, lines[3])
  end)

  it("makes a string of any message", function()
    log.info(nil)
    log.info(5)
    log.info(setmetatable({}, {
      __tostring = function()
        return "object"
      end,
    }))
    assert.equal("nil", lines[1].message)
    assert.equal("5", lines[2].message)
    assert.equal("object", lines[3].message)
  end)

  it("refuses fields that are no table, at the caller's line", function()
    local ok, message = pcall(function()
      log.warn("x", 5)
    end)
    assert.is_false(ok)
    assert.matches("log_spec.lua:%d+: log.warn: argument 2 %(fields%) must be a table, got number", message)
    assert.same({}, lines)
  end)
end)
