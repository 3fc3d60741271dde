--- What the control plane answers to, as OpenAPI tells it. spec/unit/openapi_spec.lua holds it against the
--- routes that there are.

local json = require("buntime.json")

local M = {}

M.DESCRIPTION = "The control plane of this buntime server, and the routes of the plugins that are loaded."

M.TAGS = {
  { name = "health", description = "Is it there, is it ready" },
  { name = "plugins", description = "Plugins: looking, reloading, installing" },
  { name = "workers", description = "Worker apps" },
  { name = "keys", description = "API keys and sessions" },
  { name = "server", description = "Metrics and this description" },
}

M.SECURITY = {
  apiKey = { type = "apiKey", ["in"] = "header", name = "X-API-Key" },
  bearer = { type = "http", scheme = "bearer" },
  session = { type = "apiKey", ["in"] = "cookie", name = "buntime_session" },
}

--- Any of them. Without a key, and before one was ever made, this machine may call.
local NEEDS_KEY = { { apiKey = json.array({}) }, { bearer = json.array({}) }, { session = json.array({}) } }
local OPEN = json.array({})

local function ref(name)
  return { ["$ref"] = "#/components/schemas/" .. name }
end

local function maybe(name)
  return { anyOf = { ref(name), { type = "null" } } }
end

local TEXT, BOOLEAN = { type = "string" }, { type = "boolean" }
local COUNT = { type = "integer", minimum = 0 }
local MAYBE = { type = { "string", "null" } }
local MAYBE_COUNT = { type = { "integer", "null" }, minimum = 0 }

local function object(properties, required)
  return { type = "object", properties = properties, required = required }
end

local function list(items)
  return { type = "array", items = items }
end

local function success(data)
  return object({ success = { const = true }, data = data }, { "success", "data" })
end

M.SCHEMAS = {
  Error = object({
    success = { const = false },
    code = TEXT,
    message = TEXT,
    requestId = TEXT,
    traceback = TEXT,
  }, { "success", "code", "message", "requestId" }),
  Health = object({
    ok = BOOLEAN,
    status = TEXT,
    version = TEXT,
    reasons = list(TEXT),
  }, { "ok", "status", "version" }),
  Discovery = object({ api = TEXT, version = TEXT }, { "api", "version" }),
  PluginError = object({
    code = TEXT,
    message = TEXT,
    file = MAYBE,
    line = MAYBE_COUNT,
    traceback = MAYBE,
  }, { "code", "message" }),
  Plugin = object({
    name = TEXT,
    path = TEXT,
    version = MAYBE,
    base = MAYBE,
    enabled = BOOLEAN,
    removable = BOOLEAN,
    source = TEXT,
    state = TEXT,
    hash = TEXT,
  }, { "name", "path", "state" }),
  LoadedPlugin = object({
    name = TEXT,
    version = MAYBE,
    base = MAYBE,
    dependencies = list(TEXT),
    optionalDependencies = list(TEXT),
    menus = list({ type = "object" }),
  }, { "name" }),
  ReloadedPlugin = object({
    name = TEXT,
    path = TEXT,
    version = MAYBE,
    base = MAYBE,
    initMs = COUNT,
    status = {
      type = "string",
      enum = { "loaded", "unchanged", "kept_old", "failed", "skipped", "disabled", "removed", "quarantined" },
    },
    error = maybe("PluginError"),
  }, { "name", "status" }),
  ReloadedReplica = object({
    id = TEXT,
    ok = BOOLEAN,
    self = BOOLEAN,
    generation = COUNT,
    errors = list(object({ name = TEXT, code = TEXT, message = TEXT }, { "code", "message" })),
    more = COUNT,
  }, { "id", "ok", "self", "errors" }),
  Replica = object({
    id = TEXT,
    since = TEXT,
    version = TEXT,
    self = BOOLEAN,
  }, { "id", "since", "version", "self" }),
  Reload = object({
    ok = BOOLEAN,
    generation = COUNT,
    durationMs = COUNT,
    plugins = list(ref("ReloadedPlugin")),
    apps = list({ type = "object" }),
    leaks = list({ type = "object" }),
    replicas = list(ref("ReloadedReplica")),
    replicasError = ref("PluginError"),
  }, { "ok", "generation", "durationMs", "plugins", "leaks" }),
  Setting = object({
    value = {},
    source = { type = "string", enum = { "env", "manifest", "default" } },
    env = TEXT,
  }),
  Fault = object({
    code = TEXT,
    message = TEXT,
    file = MAYBE,
    line = MAYBE_COUNT,
    traceback = MAYBE,
    phase = MAYBE,
    count = COUNT,
    first = TEXT,
    last = TEXT,
    requestId = MAYBE,
  }, { "code", "message", "count" }),
  Worker = object({
    name = TEXT,
    path = TEXT,
    versions = list(TEXT),
    disabledVersions = list(TEXT),
    removable = BOOLEAN,
    source = TEXT,
    live = COUNT,
    requests = COUNT,
  }, { "name", "versions" }),
  NewKey = object({
    name = { type = "string", minLength = 1, maxLength = 100 },
    role = { type = "string", enum = { "admin", "editor", "viewer", "custom" } },
    permissions = list(TEXT),
    namespaces = list(TEXT),
    expiresIn = TEXT,
  }, { "name", "role" }),
  Key = object({
    id = TEXT,
    name = TEXT,
    keyPrefix = TEXT,
    role = TEXT,
    permissions = list(TEXT),
    namespaces = list(TEXT),
  }, { "id", "name", "keyPrefix", "role" }),
  Session = object({ authenticated = BOOLEAN, principal = MAYBE }, { "authenticated" }),
}

local NAME = { name = "name", description = "The plugin's name, URL-encoded (%40acme%2Fshop)" }
local ID = { name = "id", description = "The key's id" }
local SCOPE = { name = "scope", description = "The app's scope, _ for none" }
local APP = { name = "name", description = "The app's name without its scope" }
local VERSION = { name = "version", description = "A version of the app, or latest" }

local function flag(name, description)
  return { name = name, ["in"] = "query", description = description, schema = BOOLEAN }
end

local RELOAD_FLAGS = {
  flag("changed", "Only what changed, and what is new or gone"),
  flag("strict", "Swap nothing if anything fails"),
  flag("dry_run", "Say what would happen"),
}

local function answers(schema, description)
  return { ["200"] = { description = description, schema = schema } }
end

local function reloads(schema)
  return {
    ["200"] = { description = "All is loaded", schema = schema },
    ["207"] = { description = "Some of it is not", schema = schema },
    ["409"] = { description = "Nothing was changed", schema = schema },
  }
end

local function with(flags, param)
  local params = { param }
  for _, one in ipairs(flags) do
    params[#params + 1] = one
  end
  return params
end

local BYTES = { type = "string", contentMediaType = "application/octet-stream" }
local ARCHIVE = object({ file = BYTES }, { "file" })
local TOGGLED = object({
  success = { const = true },
  data = object({ name = TEXT, enabled = BOOLEAN }),
  reload = ref("Reload"),
}, { "success", "data" })

--- method, path below /api, tag, summary, then what differs from the usual.
local ROWS = {
  {
    "GET", "/.well-known/buntime", "server", "Where the control plane is",
    absolute = true,
    security = OPEN,
    responses = answers(ref("Discovery"), "Where it is"),
  },
  {
    "GET", "/health", "health", "Health",
    security = OPEN,
    responses = answers(ref("Health"), "It is up"),
  },
  {
    "GET", "/health/live", "health", "Whether the loop turns",
    security = OPEN,
    responses = answers(ref("Health"), "It does"),
  },
  {
    "GET", "/health/ready", "health", "Whether it may get traffic",
    security = OPEN,
    responses = {
      ["200"] = { description = "It may", schema = ref("Health") },
      ["503"] = { description = "Not now: reasons tells why", schema = ref("Health") },
    },
  },
  {
    "GET", "/plugins", "plugins", "Every plugin on disk",
    responses = answers(list(ref("Plugin")), "The plugins"),
  },
  {
    "GET", "/plugins/loaded", "plugins", "What serves, in load order",
    responses = answers(list(ref("LoadedPlugin")), "The loaded plugins"),
  },
  {
    "POST", "/plugins/reload", "plugins", "Reload the plugins",
    params = RELOAD_FLAGS,
    responses = reloads(ref("Reload")),
  },
  {
    "POST", "/plugins/upload", "plugins", "Install a plugin from an archive",
    params = { flag("reload", "Load it at once") },
    body = ARCHIVE,
    bodyType = "multipart/form-data",
    responses = answers({ type = "object" }, "It is installed"),
  },
  {
    "GET", "/plugins/:name", "plugins", "One plugin",
    params = { NAME },
    responses = answers({ type = "object" }, "What is known of it"),
  },
  {
    "GET", "/plugins/:name/config", "plugins", "Its configuration, secrets masked",
    params = { NAME },
    responses = answers(
      { type = "object", additionalProperties = ref("Setting") },
      "The configuration"
    ),
  },
  {
    "GET", "/plugins/:name/errors", "plugins", "Its last errors",
    params = { NAME },
    responses = answers(list(ref("Fault")), "Newest first"),
  },
  {
    "POST", "/plugins/:name/reload", "plugins", "Reload one plugin",
    params = with(RELOAD_FLAGS, NAME),
    responses = reloads(ref("Reload")),
  },
  {
    "POST", "/plugins/:name/enable", "plugins", "Enable it",
    params = { NAME },
    responses = reloads(TOGGLED),
  },
  {
    "POST", "/plugins/:name/disable", "plugins", "Disable it",
    params = { NAME },
    responses = reloads(TOGGLED),
  },
  {
    "POST", "/plugins/:name/rollback", "plugins", "Back to the version before",
    params = { NAME },
    responses = reloads({ type = "object" }),
  },
  {
    "DELETE", "/plugins/:name", "plugins", "Remove it",
    params = { NAME },
    responses = reloads({ type = "object" }),
  },
  {
    "GET", "/workers", "workers", "The worker apps",
    responses = answers(list(ref("Worker")), "The apps"),
  },
  {
    "POST", "/workers/upload", "workers", "Install an app from an archive",
    body = ARCHIVE,
    bodyType = "multipart/form-data",
    responses = answers({ type = "object" }, "It is installed"),
  },
  {
    "GET", "/workers/:scope/:name", "workers", "One app and its processes",
    params = { SCOPE, APP },
    responses = answers({ type = "object" }, "The app"),
  },
  {
    "DELETE", "/workers/:scope/:name", "workers", "Remove all versions",
    params = { SCOPE, APP },
    responses = reloads({ type = "object" }),
  },
  {
    "DELETE", "/workers/:scope/:name/:version", "workers", "Remove one version",
    params = { SCOPE, APP, VERSION },
    responses = reloads({ type = "object" }),
  },
  {
    "POST", "/workers/:scope/:name/:version/enable", "workers", "Enable a version",
    params = { SCOPE, APP, VERSION },
    responses = reloads(TOGGLED),
  },
  {
    "POST", "/workers/:scope/:name/:version/disable", "workers", "Disable a version",
    params = { SCOPE, APP, VERSION },
    responses = reloads(TOGGLED),
  },
  {
    "GET", "/keys", "keys", "The keys",
    responses = answers(list(ref("Key")), "In the order they were made"),
  },
  {
    "GET", "/keys/meta", "keys", "The roles and permissions that there are",
    responses = answers({ type = "object" }, "What to choose from"),
  },
  {
    "POST", "/keys", "keys", "Make a key",
    body = ref("NewKey"),
    responses = {
      ["201"] = {
        description = "The only time that the key is shown",
        schema = success(
          object({ id = TEXT, name = TEXT, key = TEXT, keyPrefix = TEXT, role = TEXT })
        ),
      },
    },
  },
  {
    "DELETE", "/keys/:id", "keys", "Revoke a key",
    params = { ID },
    responses = answers(success(object({ id = TEXT })), "It and its sessions have ended"),
  },
  {
    "GET", "/admin/session", "keys", "Who I am",
    security = OPEN,
    responses = answers(ref("Session"), "Who"),
  },
  {
    "POST", "/admin/session", "keys", "Log in",
    security = OPEN,
    body = object({ key = TEXT }, { "key" }),
    responses = answers(ref("Session"), "Logged in"),
  },
  {
    "DELETE", "/admin/session", "keys", "Log out",
    security = OPEN,
    responses = answers(ref("Session"), "Logged out"),
  },
  {
    "GET", "/replicas", "server", "The servers of this deployment",
    responses = answers(list(ref("Replica")), "This one, then the others in the order they came"),
  },
  {
    "GET", "/metrics", "server", "Counters in Prometheus' text format",
    responses = { ["200"] = { description = "The page", schema = TEXT, type = "text/plain" } },
  },
  {
    "GET", "/openapi.json", "server", "This description",
    security = OPEN,
    responses = answers({ type = "object" }, "OpenAPI 3.1"),
  },
  {
    "GET", "/docs", "server", "This description for people",
    security = OPEN,
    responses = { ["200"] = { description = "A page", schema = TEXT, type = "text/html" } },
  },
}

--- @return table[] routes { method, path, doc, tag, absolute }
function M.list()
  local out = {}
  for _, row in ipairs(ROWS) do
    local doc = { summary = row[4], security = row.security or NEEDS_KEY }
    for _, key in ipairs({ "params", "body", "bodyType", "responses" }) do
      doc[key] = row[key]
    end
    out[#out + 1] = { method = row[1], path = row[2], tag = row[3], doc = doc, absolute = row.absolute }
  end
  return out
end

return M
