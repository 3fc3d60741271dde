--- Fails if the reference and what it is about disagree. Run from the repository root.
---
--- Every setting of runtime/conf/settings_table.c stands in docs/reference/environment.md, and each name
--- there that looks like one of ours is one.
---
--- Every public function, method and field that lua/buntime declares stands in a page of docs/reference (in
--- code: `like this`, or in a block); every `module.name(` and `:name(` of a page is declared; what an
--- annotation calls a parameter is one, in the order of the function.

--- Where a module is described. Files that are not here are the library's own.
local PAGES = {
  cache = { "cache" },
  context = { "lua-api", "static", "streams" },
  cookie = { "lua-api" },
  cron = { "cron" },
  crypto = { "crypto" },
  error = { "lua-api" },
  fetch = { "fetch" },
  form = { "uploads" },
  fs = { "fs" },
  init = { "lua-api" },
  json = { "lua-api" },
  jwt = { "jwt" },
  log = { "lua-api" },
  postgres = { "postgres" },
  redis = { "redis" },
  request = { "lua-api", "uploads" },
  response = { "lua-api" },
  router = { "lua-api" },
  semver = { "semver" },
  shared = { "shared" },
  sqlite = { "sqlite" },
  sse = { "streams" },
  stream = { "streams" },
  task = { "lua-api" },
  testing = { "lua-api", "streams", "cron" },
  timer = { "lua-api" },
  transactions = { "sqlite", "postgres" },
  url = { "lua-api" },
  uuid = { "lua-api" },
  validate = { "validate" },
  websocket = { "websocket" },
  ["middleware/cors"] = { "lua-api" },
  ["middleware/secure_headers"] = { "lua-api" },
  ["_meta/cron"] = { "cron" },
  ["_meta/fetch"] = { "fetch" },
  ["_meta/postgres"] = { "postgres" },
  ["_meta/redis"] = { "redis" },
  ["_meta/request"] = { "lua-api" },
  ["_meta/shared"] = { "shared" },
  ["_meta/sqlite"] = { "sqlite" },
  ["_meta/stream"] = { "streams" },
  ["_meta/task"] = { "lua-api" },
  ["_meta/timer"] = { "lua-api" },
  ["_meta/websocket"] = { "websocket" },
}

--- What files declare for other files of the library only.
local INNER = {
  context = "settle settle_middleware answer_error",
  cookie = "serialize",
  fetch = "transfer problem",
  form = "check_options",
  request = "is",
  response = "raw add_headers looks_like from source",
  router = "is sockets surround handle dispatch",
  stream = "new events",
  transactions = "outer inner",
  websocket = "check_handlers limits upgrade",
}

--- Made in a loop, or at run time, where no line names them.
local MADE = "get post put patch delete options all transaction"

local problems = 0
local function problem(...)
  io.stderr:write(string.format(...), "\n")
  problems = problems + 1
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local function files(command)
  return io.popen(command .. " | LC_ALL=C sort"):lines()
end

--- The code of a page: its blocks, and what stands between backticks.
local function code_of(text)
  local out = {}
  text = text:gsub("\n```[^\n]*\n(.-)\n```", function(block)
    out[#out + 1] = block
    return "\n"
  end)
  for span in text:gmatch("`([^`]+)`") do
    out[#out + 1] = span
  end
  return table.concat(out, "\n")
end

local pages = {}
for path in files("ls docs/reference/*.md") do
  pages[path:match("([^/]+)%.md$")] = code_of(read(path))
end

local function is_word_in(code, word)
  return code:find("%f[%w_]" .. word .. "%f[^%w_]") ~= nil
end

--- @class lint.Item
--- @field name string
--- @field line integer
--- @field owner? string The variable in front of it, for functions.
--- @field method? boolean
--- @field parameters? string[]
--- @field declared string[] The names of its @param lines.

--- Goes through a file: what stands there, with the comment above it.
--- @return lint.Item[]
local function items_of(path)
  local items, comment, number, hidden_class = {}, {}, 0, false
  local function add(name, more)
    local item = { name = name, line = number, declared = {} }
    for key, value in pairs(more or {}) do
      item[key] = value
    end
    for _, line in ipairs(comment) do
      local parameter = line:match("@param%s+([%w_.]+)")
      item.declared[#item.declared + 1] = parameter
    end
    item.commented = #comment > 0
    items[#items + 1] = item
  end
  for line in io.lines(path) do
    number = number + 1
    local text = line:match("^%s*%-%-%-(.*)$")
    if text then
      comment[#comment + 1] = text
      if text:find("@class", 1, true) then
        hidden_class = not text:find("@class%s+buntime%f[%W]") or text:find("@class%s+%(")
      end
      local field = text:match("@field%s+([%w_]+)%??%s")
      if field and field ~= "private" and field ~= "package" and not hidden_class then
        add(field, { field = true, declared = {} })
        items[#items].declared = {}
      end
    else
      local owner, sign, name, parameters = line:match("^function ([%w_]+)([.:])([%w_]+)%((.-)%)")
      local assigned_to, assigned = line:match("^([%w_]+)%.([%w_]+)%s*=%s")
      if owner then
        local list = {}
        for parameter in parameters:gmatch("[%w_.]+") do
          list[#list + 1] = parameter
        end
        add(name, { owner = owner, method = sign == ":", parameters = list })
      elseif assigned and assigned_to == "M" then
        add(assigned, { owner = "M" })
      end
      if not line:match("^%s*$") or #comment > 0 then
        comment = {}
      end
    end
  end
  return items
end

local function same(a, b)
  return table.concat(a, ", ") == table.concat(b, ", ")
end

local function check_parameters(path, item)
  if item.parameters and #item.declared > 0 and not same(item.parameters, item.declared) then
    local message = "%s:%d: %s is declared with (%s), and takes (%s)"
    local declared, taken = table.concat(item.declared, ", "), table.concat(item.parameters, ", ")
    problem(message, path, item.line, item.name, declared, taken)
  end
end

local function is_documented(names, word)
  for _, name in ipairs(names) do
    if is_word_in(assert(pages[name], name), word) then
      return true
    end
  end
  return false
end

local declared, modules = {}, {}
for name in MADE:gmatch("%S+") do
  declared[name] = true
end
for path in files("find lua/buntime -name '*.lua'") do
  local module = path:match("^lua/buntime/(.*)%.lua$")
  local names = PAGES[module]
  local inner = (" %s "):format(INNER[module] or "")
  modules[module] = modules[module] or {}
  for _, item in ipairs(items_of(path)) do
    declared[item.name] = true
    if item.owner == "M" then
      modules[module][item.name] = true
    end
    check_parameters(path, item)
    local public = names and item.commented and item.name:sub(1, 1) ~= "_"
    -- A C half's functions are the library's; the objects that it makes are everybody's.
    public = public and (not module:find("^_meta/") or item.method or item.field)
    public = public and not inner:find(" " .. item.name .. " ", 1, true)
    if public and not is_documented(names, item.name) then
      local where = table.concat(names, ", ")
      problem("%s:%d: %s is not in docs/reference (%s)", path, item.line, item.name, where)
    end
  end
end

-- What a C module gives counts where the library hands it on.
for name in ("gsub gmatch match find rep sub upper lower format byte"):gmatch("%S+") do
  declared[name] = true
end

for page, code in pairs(pages) do
  for name in code:gmatch("[%w_%])]:([%a_][%w_]*)%s*%(") do
    if not declared[name] then
      problem("docs/reference/%s.md: nothing in lua/buntime declares :%s()", page, name)
    end
  end
  for module, name in code:gmatch("%f[%w_.]([%l_]+)%.([%a_][%w_]*)%s*%(") do
    if PAGES[module] and next(modules[module]) and not modules[module][name] and not declared[name] then
      problem("docs/reference/%s.md: buntime.%s has no %s()", page, module, name)
    end
  end
end
-- Settings ---------------------------------------------------------------------------------------------

local settings = {}
for name in read("runtime/conf/settings_table.c"):gmatch('{"([%u_]+)", SETTING_') do
  settings[name] = true
  if not is_word_in(pages.environment, name) then
    problem("docs/reference/environment.md: the setting %s is missing", name)
  end
end
assert(settings.PORT and settings.REDIS_URL, "the settings could not be read")
for name in pages.environment:gmatch("%f[%w_]RUNTIME_[%u_]+") do
  if not settings[name] then
    problem("docs/reference/environment.md: there is no setting %s", name)
  end
end
os.exit(problems == 0 and 0 or 1)
