local overlap = require("buntime.overlap")

describe("overlap", function()
  for _, case in ipairs({
    { "/*", "/", "always" },
    { "/*", "/a/b", "always" },
    { "/*", "/*", "always" },
    { "/", "/a", "always" },
    { "/admin", "/admin", "always" },
    { "/admin", "/admin/users", "always" },
    { "/admin/*", "/admin", "always" },
    { "/admin/*", "/admin/:id", "always" },
    { "/admin", "/administrator", "never" },
    { "/admin", "/", "never" },
    { "/admin", "/users/admin", "never" },
    { "/admin", "/:section", "maybe" },
    { "/admin", "/:section?", "maybe" },
    { "/admin", "/*", "maybe" },
    { "/admin/users", "/admin/*", "maybe" },
    { "/admin/users", "/public/*", "never" },
    { "/admin/users/x", "/admin/*", "maybe" },
    { "/a/*/c", "/a/*", "maybe" },
    { "/a/*/c", "/a/:x?", "never" },
    { "/a/*/c", "/a/b/c", "always" },
    { "/a/*/c", "/a/b/d", "never" },
    { "/a/*/c", "/a/:x/c/d", "always" },
    { "/users/:id", "/users/:id", "always" },
    { "/users/:id", "/users/:id/posts", "always" },
    { "/users/:id", "/users/:user", "maybe" },
    { "/users/:id", "/users/me", "maybe" },
    { "/users/:id", "/users", "never" },
    { "/users/:id", "/users/:id?", "maybe" },
    { "/users/:id{%d+}", "/users/:id", "maybe" },
    { "/é", "/%C3%A9", "maybe" },
    { "/é", "/é/x", "always" },
  }) do
    it(("of %s and %s is %s"):format(unpack(case)), function()
      assert.equal(case[3], overlap(case[1], case[2]))
    end)
  end
end)
