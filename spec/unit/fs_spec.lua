--- buntime.fs inside the program: what the functions do, and that no path leaves.

local ffi = require("ffi")
local fs = require("buntime.fs")
local task = require("buntime.task")

ffi.cdef([[
  int symlink(const char *target, const char *path);
  int mkfifo(const char *path, unsigned mode);
]])

--- The data folder of this VM, from outside.
local function data_folder()
  fs.write("marker", "here")
  local tmp = os.getenv("TMPDIR") or "/tmp"
  local listed = io.popen(("ls -dt %s/buntime-data-*/marker"):format(tmp))
  return assert(listed:read("*l")):match("^(.*)/marker$")
end

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

describe("fs", function()
  after_each(function()
    for _, name in ipairs(assert(fs.list())) do
      assert(fs.remove(name, { recursive = true }))
    end
  end)

  it("writes, reads and replaces", function()
    for _, text in ipairs({ "", "text", "\0\255" .. ("x"):rep(200000) }) do
      assert.is_true(fs.write("a", text))
      assert.equal(text, fs.read("a"))
    end
    assert.same({ "a" }, fs.list())
  end)

  it("makes, lists and removes folders", function()
    assert.is_true(fs.mkdir("b/c/d"))
    assert.is_true(fs.mkdir("b/c/d/"))
    assert.is_true(fs.write("b/z", "1"))
    assert.is_true(fs.write("b/a", "1"))
    assert.same({ "a", "c", "z" }, fs.list("b"))
    assert.same({ "a", "c", "z" }, fs.list("./b/"))
    assert.same({}, fs.list("b/c/d"))
    assert.equal("[]", require("buntime.json").encode(fs.list("b/c/d")))

    assert.same({ nil, "b: Directory not empty", "ENOTEMPTY" }, { fs.remove("b") })
    assert.is_true(fs.remove("b/c/d"))
    assert.is_true(fs.remove("b/a"))
    assert.is_true(fs.remove("b", { recursive = true }))
    assert.same({ nil, "b: No such file or directory", "ENOENT" }, { fs.list("b") })
  end)

  it("tells what there is", function()
    fs.mkdir("b")
    fs.write("a", "12345")
    local info = fs.stat("a")
    assert.equal("file", info.type)
    assert.equal(5, info.size)
    assert.equal(420, info.mode)
    assert.truthy(math.abs(info.mtime - os.time()) < 60)
    assert.equal("directory", fs.stat("b").type)
    assert.equal("directory", fs.stat("").type)
  end)

  it("fails by nil, message and code", function()
    fs.mkdir("d/e")
    fs.write("f", "12345")
    local cases = {
      { "ENOENT", fs.read, "no" },
      { "ENOENT", fs.stat, "no" },
      { "ENOENT", fs.remove, "no" },
      { "ENOENT", fs.remove, "no", { recursive = true } },
      { "ENOENT", fs.write, "no/file", "x" },
      { "EISDIR", fs.read, "d" },
      { "EISDIR", fs.write, "d", "x" },
      { "EISDIR", fs.write, "g/", "x" },
      { "EISDIR", fs.write, "", "x" },
      { "ENOTDIR", fs.list, "f" },
      { "ENOTDIR", fs.read, "f/x" },
      { "EEXIST", fs.mkdir, "f" },
      { "EFBIG", fs.read, "f", { max = 4 } },
      { "EBUSY", fs.remove, "" },
      { "EBUSY", fs.remove, ".", { recursive = true } },
      { "EINVAL", fs.read, "a\0b" },
      { "ENAMETOOLONG", fs.read, ("x"):rep(300) },
      { "ENAMETOOLONG", fs.write, ("x"):rep(300), "x" },
    }
    for _, case in ipairs(cases) do
      local result, message, code = case[2](unpack(case, 3))
      assert.is_nil(result)
      assert.equal(case[1], code)
      assert.equal("string", type(message))
    end
    assert.equal("12345", fs.read("f", { max = 5 }))
  end)

  it("does not leave its folders", function()
    local dir = data_folder()
    ffi.C.symlink("/etc", dir .. "/out")
    ffi.C.symlink("/etc/passwd", dir .. "/file")
    ffi.C.symlink("../..", dir .. "/up")
    local outside = { "/etc/passwd", "../x", "a/../../x", "out/passwd", "file", "up/x", "..", dir .. "/x" }
    for _, path in ipairs(outside) do
      for name, fn in pairs({ read = fs.read, stat = fs.stat, list = fs.list }) do
        local _, _, code = fn(path)
        assert.equal("EACCES", code, name .. " " .. path)
      end
    end
    for _, path in ipairs({ "/tmp/x", "../x", "out/x", "up/x" }) do
      assert.equal("EACCES", select(3, fs.write(path, "x")), path)
      assert.equal("EACCES", select(3, fs.mkdir(path)), path)
      assert.equal("EACCES", select(3, fs.remove(path, { recursive = true })), path)
    end
    assert.is_true(fs.write("file", "mine")) -- replaces the link, not what it leads to
    assert.equal("mine", fs.read("file"))
    assert.is_true(fs.remove("out", { recursive = true })) -- the link alone
    assert.truthy(io.open("/etc/passwd")):close()
  end)

  it("does not wait for a FIFO", function()
    ffi.C.mkfifo(data_folder() .. "/fifo", 420)
    assert.equal("EINVAL", select(3, fs.read("fifo")))
    assert.equal("other", fs.stat("fifo").type)
  end)

  it("blames the caller for misuse", function()
    local cases = {
      { "fs.read: path must be a string, got nil", fs.read },
      { "fs.write: data must be a string, got nil", fs.write, "a" },
      { "fs.read: max must be a number of bytes up to 2 GB, got x", fs.read, "a", { max = "x" } },
      { 'fs.read: "maximum" is not known (known: max)', fs.read, "a", { maximum = 1 } },
      { "fs.remove: options must be a table, got boolean", fs.remove, "a", true },
    }
    for _, case in ipairs(cases) do
      local message = failure(function()
        case[2](unpack(case, 3))
      end)
      assert.truthy(message:find("fs_spec.lua:%d+: "), message)
      assert.truthy(message:find(case[1], 1, true), message)
    end
  end)

  it("renames in one step, and only inside the folder", function()
    fs.write("from", "text")
    fs.write("to", "old")
    assert.is_true(fs.rename("from", "to"))
    assert.equal("text", fs.read("to"))
    assert.equal("ENOENT", select(3, fs.rename("from", "to")))
    assert.equal("EACCES", select(3, fs.rename("to", "../out")))
    assert.equal("EACCES", select(3, fs.rename("../../x", "to")))
    assert.equal("EINVAL", select(3, fs.rename("to", "a\0b")))
    assert.equal("text", fs.read("to"))
  end)

  it("shows an old file or a new one, never half of one", function()
    local a, b = ("a"):rep(100000), ("b"):rep(100000)
    fs.write("x", a)
    local writer = task.spawn(function()
      for i = 1, 20 do
        fs.write("x", i % 2 == 0 and a or b)
      end
    end)
    local reader = task.spawn(function()
      for _ = 1, 40 do
        local text = fs.read("x")
        assert.truthy(text == a or text == b)
      end
    end)
    task.gather(writer, reader)
  end)

  it("survives a task that is cancelled", function()
    for _ = 1, 20 do
      local t = task.spawn(fs.write, "x", "text")
      t:cancel()
      pcall(t.wait, t)
    end
    assert.equal("text", fs.read("x"))
  end)
end)
