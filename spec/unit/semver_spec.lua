describe("semver", function()
  local semver = require("buntime.semver")

  it("parses", function()
    assert.same({ major = 1, minor = 2, patch = 3 }, semver.parse("1.2.3"))
    assert.same(
      { major = 1, minor = 0, patch = 0, prerelease = "rc.1", build = "b5" },
      semver.parse("1.0.0-rc.1+b5")
    )
  end)

  it("says what is no version", function()
    for _, text in ipairs({ "", "1", "1.2", "v1.2.3", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3 " }) do
      local version, message, code = semver.parse(text)
      assert.is_nil(version)
      assert.equal(("%q is not a version such as 1.2.3"):format(text), message)
      assert.equal("INVALID_VERSION", code)
    end
  end)

  it("compares", function()
    local order = { "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0", "1.0.1" }
    for i = 1, #order do
      for j = 1, #order do
        assert.equal(i < j and -1 or i > j and 1 or 0, semver.compare(order[i], order[j]))
      end
    end
    assert.equal(0, semver.compare("1.0.0+a", "1.0.0+b"))
    assert.equal('"x" is not a version such as 1.2.3', select(2, semver.compare("1.0.0", "x")))
  end)

  local cases = {
    { "1.4.2", "^1.2.0", true },
    { "2.0.0", "^1.2.0", false },
    { "0.2.9", "^0.2.3", true },
    { "0.3.0", "^0.2.3", false },
    { "1.2.9", "~1.2.3", true },
    { "1.3.0", "~1.2.3", false },
    { "2.5.0", ">=1.2 <3", true },
    { "1.7.0", "1.x", true },
    { "2.3.9", "1.2 - 2.3", true },
    { "3.0.0", "^1 || ^3", true },
    { "1.3.0-rc.1", "^1.2.0", false },
    { "1.2.0-rc.2", "^1.2.0-rc.1", true },
    { "9.9.9", "*", true },
  }
  for _, case in ipairs(cases) do
    it(("%s in %s is %s"):format(case[1], case[2], tostring(case[3])), function()
      assert.equal(case[3], semver.satisfies(case[1], case[2]))
    end)
  end

  it("tells a bad version from a bad range", function()
    local got = { semver.satisfies("x", "*") }
    assert.same({ nil, '"x" is not a version such as 1.2.3', "INVALID_VERSION" }, got)
    got = { semver.satisfies("1.0.0", ">") }
    assert.same({ nil, '">" is not a range of versions', "INVALID_RANGE" }, got)
  end)

  it("refuses what is no string, at the caller's line", function()
    local _, message = pcall(function()
      return (semver.parse(1))
    end)
    assert.matches("semver_spec.lua:%d+: semver.parse: argument 1 must be a string, got number$", message)
  end)
end)
