local crypto = require("buntime.crypto")
local json = require("buntime.json")
local jwt = require("buntime.jwt")
local sys = require("buntime.core.sys")

local function read(name)
  local file = assert(io.open("spec/fixtures/keys/" .. name))
  local text = file:read("*a")
  file:close()
  return text
end

describe("jwt", function()
  local NOW = 1700000000
  local wall = sys.wall
  local now

  before_each(function()
    now = NOW
    sys.wall = function()
      return now
    end
  end)

  after_each(function()
    sys.wall = wall
  end)

  local HS = { algorithms = { "HS256" } }

  --- A token of any header and claims.
  local function forge(header, claims, key)
    local url = { url = true }
    local text = crypto.base64(header, url) .. "." .. crypto.base64(claims, url)
    local mac = key and crypto.unhex(crypto.hmac("sha256", key, text)) or ""
    return text .. "." .. crypto.base64(mac, url)
  end

  it("verifies the example of RFC 7515", function()
    local token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog"
      .. "Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    local key = crypto.unbase64(
      "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
      { url = true }
    )
    now = 1300819379
    assert.equal("joe", jwt.verify(token, key, HS).iss)
    now = 1300819380
    assert.equal("JWT_EXPIRED", select(3, jwt.verify(token, key, HS)))
  end)

  it("verifies what the openssl command signed", function()
    for token in read("tokens.txt"):gmatch("%S+") do
      local algorithm = json.decode(crypto.unbase64(token:match("^[^.]+"), { url = true })).alg
      local key = read(algorithm:find("^ES") and "ec" .. algorithm:sub(3) .. ".pub.pem" or "rsa.pub.pem")
      local claims, message = jwt.verify(token, key, { algorithms = { algorithm } })
      assert.is_nil(message)
      assert.equal(algorithm, claims.sub)
    end
  end)

  local pairs_of = {
    HS256 = { "secret", "secret" },
    HS384 = { "secret", "secret" },
    HS512 = { "secret", "secret" },
    RS256 = { "rsa.pem", "rsa.pkcs1.pem" },
    RS384 = { "rsa.pem", "rsa.pub.pem" },
    RS512 = { "rsa.pem", "rsa.pub.pem" },
    PS256 = { "rsa.pem", "rsa.pub.pem" },
    PS384 = { "rsa.pem", "rsa.pub.pem" },
    PS512 = { "rsa.pem", "rsa.pub.pem" },
    ES256 = { "ec256.pem", "ec256.crt.pem" },
    ES384 = { "ec384.pem", "ec384.pub.pem" },
    ES512 = { "ec512.pem", "ec512.pub.pem" },
  }
  local function key_of(name)
    return name:find("%.pem$") and read(name) or name
  end

  for algorithm, names in pairs(pairs_of) do
    it(algorithm .. " there and back, and nothing else passes", function()
      local private, public = key_of(names[1]), key_of(names[2])
      local options = { algorithms = { algorithm } }
      local token = assert(jwt.sign({ sub = "42" }, private, { algorithm = algorithm }))
      assert.same({ sub = "42", iat = NOW }, jwt.verify(token, public, options))

      local url = { url = true }
      local head, body, tail = token:match("^(.-)%.(.-)%.(.*)$")
      local other = crypto.base64('{"sub":"1"}', url)
      local zero = crypto.base64(("\0"):rep(#crypto.unbase64(tail, url)), url)
      for _, parts in ipairs({ { head, other, tail }, { head, body, "" }, { head, body, zero } }) do
        local _, _, code = jwt.verify(table.concat(parts, "."), public, options)
        assert.equal("JWT_SIGNATURE", code)
      end
      for _, wrong in ipairs({ "HS256", "RS256", "ES256" }) do
        if wrong ~= algorithm then
          assert.equal("JWT_ALGORITHM", select(3, jwt.verify(token, public, { algorithms = { wrong } })))
        end
      end
    end)
  end

  it("never takes none", function()
    for _, name in ipairs({ "none", "None", "NONE", "nOnE" }) do
      local token = forge(('{"alg":"%s"}'):format(name), '{"sub":"1"}')
      assert.equal("JWT_ALGORITHM", select(3, jwt.verify(token, "secret", HS)))
    end
    assert.has_error(function()
      jwt.verify("x", "secret", { algorithms = { "none" } })
    end)
    assert.has_error(function()
      jwt.sign({}, "secret", { algorithm = "none" })
    end)
  end)

  it("does not take a public key for a secret", function()
    local public = read("rsa.pub.pem")
    local token = forge('{"alg":"HS256"}', '{"sub":"1"}', public)
    local both = { algorithms = { "RS256", "HS256" } }
    local claims, message, code = jwt.verify(token, public, both)
    assert.is_nil(claims)
    assert.equal("HS256 needs a secret, got a key in PEM", message)
    assert.equal("JWT_KEY", code)
  end)

  local keys = {
    { "RS256", "rsa1024.pub.pem", "RS256 needs an RSA key of 2048 to 8192 bits, got 1024" },
    { "RS256", "ec256.pub.pem", "RS256 needs an RSA key" },
    { "ES256", "ec384.pub.pem", "ES256 needs an EC key on P-256" },
    { "ES256", "rsa.pub.pem", "ES256 needs an EC key on P-256" },
    { "RS256", "rsa.pem", "expected a public key in PEM" },
    { "RS256", "rsa.encrypted.pem", "the key is encrypted: a key without a password is needed" },
    { "RS256", "tokens.txt", "expected a public key in PEM" },
  }
  for _, case in ipairs(keys) do
    it(("verify %s with %s"):format(case[1], case[2]), function()
      local token = forge(('{"alg":"%s"}'):format(case[1]), "{}")
      local got = { jwt.verify(token, read(case[2]), { algorithms = { case[1] } }) }
      assert.same({ nil, case[3], "JWT_KEY" }, got)
    end)
  end

  it("sign with keys that do not fit", function()
    for name, message in pairs({
      ["rsa1024.pem"] = "RS256 needs an RSA key of 2048 to 8192 bits, got 1024",
      ["rsa.pub.pem"] = "expected a private key in PEM",
      ["ec256.pem"] = "RS256 needs an RSA key",
      ["rsa.encrypted.pem"] = "the key is encrypted: a key without a password is needed",
    }) do
      assert.same({ nil, message, "JWT_KEY" }, { jwt.sign({}, read(name), { algorithm = "RS256" }) })
    end
  end)

  it("what is no token", function()
    local good = forge('{"alg":"HS256"}', "{}", "secret")
    local bad = {
      "",
      "a",
      "a.b",
      "..",
      good .. ".x",
      good .. "=",
      good .. "\n",
      " " .. good,
      forge("[]", "{}", "secret"),
      forge('{"alg":"HS256"}', "[]", "secret"),
      forge('{"alg":"HS256"}', "5", "secret"),
      forge('{"alg":"HS256"', "{}", "secret"),
      forge('{"alg":"HS256"}', '{"a":1}}', "secret"),
      ("a"):rep(70000) .. ".b.c",
      5,
      false,
    }
    for i, token in ipairs(bad) do
      local got = { jwt.verify(token, "secret", HS) }
      assert.same({ nil, "not a JSON Web Token", "JWT_MALFORMED" }, got, "number " .. i)
    end
    assert.equal("JWT_MALFORMED", select(3, jwt.verify(nil, "secret", HS)))
    assert.is_table(jwt.verify(good, "secret", HS))
  end)

  it("headers that are not for us", function()
    local token = forge('{"alg":"HS256","crit":["b64"],"b64":false}', "{}", "secret")
    assert.equal("JWT_MALFORMED", select(3, jwt.verify(token, "secret", HS)))
    token = forge('{"alg":["HS256"]}', "{}", "secret")
    assert.equal("JWT_ALGORITHM", select(3, jwt.verify(token, "secret", HS)))
    token = forge("{}", "{}", "secret")
    assert.equal("JWT_ALGORITHM", select(3, jwt.verify(token, "secret", HS)))
  end)

  local claims = {
    { '{"exp":1700000001}' },
    { '{"exp":1700000000}', "JWT_EXPIRED" },
    { '{"exp":1699999995}', nil, { leeway = 6 } },
    { '{"exp":1699999995}', "JWT_EXPIRED", { leeway = 5 } },
    { '{"exp":"1800000000"}', "JWT_MALFORMED" },
    { '{"exp":null}', "JWT_MALFORMED" },
    { '{"nbf":1700000000}' },
    { '{"nbf":1700000001}', "JWT_NOT_YET" },
    { '{"nbf":1700000005}', nil, { leeway = 5 } },
    { '{"iat":1700000001}', "JWT_NOT_YET" },
    { '{"iat":1700000001}', nil, { leeway = 1 } },
    { '{"iss":"a"}', nil, { issuer = "a" } },
    { '{"iss":"a"}', nil, { issuer = { "b", "a" } } },
    { '{"iss":"a"}', "JWT_ISSUER", { issuer = "b" } },
    { '{"iss":["a"]}', "JWT_ISSUER", { issuer = "a" } },
    { "{}", "JWT_ISSUER", { issuer = "a" } },
    { '{"aud":"a"}', nil, { audience = "a" } },
    { '{"aud":["b","a"]}', nil, { audience = "a" } },
    { '{"aud":["b","a"]}', nil, { audience = { "c", "b" } } },
    { '{"aud":["b"]}', "JWT_AUDIENCE", { audience = "a" } },
    { '{"aud":[]}', "JWT_AUDIENCE", { audience = "a" } },
    { "{}", "JWT_AUDIENCE", { audience = "a" } },
    { '{"sub":"a"}', nil, { subject = "a" } },
    { "{}", "JWT_SUBJECT", { subject = "a" } },
  }
  for i, case in ipairs(claims) do
    it(("claims %d: %s"):format(i, case[1]), function()
      local options = { algorithms = { "HS256" } }
      for name, value in pairs(case[3] or {}) do
        options[name] = value
      end
      local got, _, code = jwt.verify(forge('{"alg":"HS256"}', case[1], "secret"), "secret", options)
      assert.equal(case[2], code)
      assert.equal(case[2] == nil, got ~= nil)
    end)
  end

  it("signs what the options say", function()
    local token = jwt.sign({ role = "admin" }, "secret", {
      expires_in = 60,
      not_before = 5,
      issuer = "me",
      audience = { "a", "b" },
      subject = "s",
      id = "j",
      header = { kid = "k1" },
    })
    assert.equal("JWT_NOT_YET", select(3, jwt.verify(token, "secret", HS)))
    now = NOW + 5
    local want = { role = "admin", iat = NOW, nbf = NOW + 5, exp = NOW + 60 }
    want.iss, want.sub, want.jti = "me", "s", "j"
    local got = jwt.verify(token, "secret", HS)
    assert.same({ "a", "b" }, { unpack(got.aud) })
    got.aud = nil
    assert.same(want, got)
    now = NOW + 60
    assert.equal("JWT_EXPIRED", select(3, jwt.verify(token, "secret", HS)))
  end)

  it("finds the key by a function", function()
    local token = jwt.sign({ sub = "1" }, "second", { header = { kid = "2" } })
    local function find(header)
      return ({ ["1"] = "first", ["2"] = "second" })[header.kid]
    end
    assert.equal("1", jwt.verify(token, find, HS).sub)
    token = jwt.sign({}, "second", { header = { kid = "3" } })
    assert.same({ nil, "there is no key for this token", "JWT_KEY" }, { jwt.verify(token, find, HS) })
  end)

  local unnamed = "jwt.verify: argument 3 must name the algorithms that are taken: "
    .. '{ algorithms = { "HS256" } }'
  local unkeyed = "jwt.verify: argument 2 (key) must be a string that is not empty or a function, got string"
  local misuse = {
    { unnamed, "verify", "t", "k" },
    { unnamed, "verify", "t", "k", {} },
    { 'jwt.verify: the algorithm "HS128" is not known', "verify", "t", "k", { algorithms = { "HS128" } } },
    {
      'jwt.verify: the option "aud" is not known',
      "verify",
      "t",
      "k",
      { algorithms = { "HS256" }, aud = 1 },
    },
    { unkeyed, "verify", "t", "", HS },
    { "jwt.sign: argument 1 (claims) must be a table, got nil", "sign" },
    { "jwt.sign: argument 2 (key) must be a string that is not empty, got nil", "sign", {} },
    { 'jwt.sign: the option "expiresIn" is not known', "sign", {}, "k", { expiresIn = 5 } },
    { "jwt.sign: expires_in must be a number, got string", "sign", {}, "k", { expires_in = "1h" } },
  }
  for _, case in ipairs(misuse) do
    it(case[1], function()
      local ok, message = pcall(function()
        return (jwt[case[2]](case[3], case[4], case[5]))
      end)
      assert.is_false(ok)
      assert.equal(case[1], (message:gsub("^spec/unit/jwt_spec.lua:%d+: ", "")))
    end)
  end
end)
