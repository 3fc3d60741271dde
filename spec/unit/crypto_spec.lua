describe("crypto", function()
  local crypto = require("buntime.crypto")

  local digests = {
    { "md5", "", "d41d8cd98f00b204e9800998ecf8427e" },
    { "md5", "abc", "900150983cd24fb0d6963f7d28e17f72" },
    { "sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
    { "sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    {
      "sha384",
      "abc",
      "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
    },
    {
      "sha512",
      "abc",
      "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        .. "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    },
  }
  for _, case in ipairs(digests) do
    it(("%s of %q"):format(case[1], case[2]), function()
      assert.equal(case[3], crypto[case[1]](case[2]))
    end)
  end

  it("hmac, by RFC 4231", function()
    assert.equal(
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      crypto.hmac("sha256", ("\11"):rep(20), "Hi There")
    )
    assert.equal(
      "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
        .. "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
      crypto.hmac("sha512", "Jefe", "what do ya want for nothing?")
    )
    assert.equal(
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      crypto.hmac(
        "sha256",
        ("\170"):rep(131),
        "Test Using Larger Than Block-Size Key - Hash Key First"
      )
    )
  end)

  it("hmac of an empty key and bytes with NUL", function()
    assert.equal(
      "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad",
      crypto.hmac("sha256", "", "")
    )
    assert.not_equal(crypto.hmac("sha256", "k", "a\0b"), crypto.hmac("sha256", "k", "a\0c"))
  end)

  it("random", function()
    assert.equal("", crypto.random(0))
    assert.equal(100000, #crypto.random(100000))
    assert.not_equal(crypto.random(16), crypto.random(16))
  end)

  it("equals", function()
    assert.is_true(crypto.equals("", ""))
    assert.is_true(crypto.equals("a\0b", "a\0b"))
    assert.is_false(crypto.equals("a\0b", "a\0c"))
    assert.is_false(crypto.equals("a", "ab"))
  end)

  it("base64, by RFC 4648", function()
    local plain = { "", "f", "fo", "foo", "foob", "fooba", "foobar" }
    local coded = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" }
    for i, text in ipairs(plain) do
      assert.equal(coded[i], crypto.base64(text))
      assert.equal(text, crypto.unbase64(coded[i]))
      assert.equal((coded[i]:gsub("=", "")), crypto.base64(text, { url = true }))
      assert.equal(text, crypto.unbase64((coded[i]:gsub("=", "")), { url = true }))
      assert.equal(text, crypto.unbase64(coded[i], { url = true }))
    end
  end)

  it("base64 of every byte, in both alphabets", function()
    local bytes = {}
    for i = 0, 255 do
      bytes[#bytes + 1] = string.char(i, 255 - i)
    end
    local text = table.concat(bytes)
    assert.equal(text, crypto.unbase64(crypto.base64(text)))
    assert.equal(text, crypto.unbase64(crypto.base64(text, { url = true }), { url = true }))
    assert.equal("+/+/", crypto.base64("\251\255\191"))
    assert.equal("-_-_", crypto.base64("\251\255\191", { url = true }))
  end)

  it("what is not base64", function()
    local bad = { "Zg", "Zg=", "Zg===", "Z", "Zh==", "Zm9=", "Zm 9", "Zm9v\n", "Zm9-", "====", "=" }
    for _, text in ipairs(bad) do
      assert.same({ nil, "not base64", "INVALID_BASE64" }, { crypto.unbase64(text) }, text)
    end
    for _, text in ipairs({ "Z", "Zg=", "Zh", "Zm9+", "a/b_" }) do
      local got = { crypto.unbase64(text, { url = true }) }
      assert.same({ nil, "not base64 for URLs", "INVALID_BASE64" }, got, text)
    end
  end)

  it("hex", function()
    assert.equal("00ff7a", crypto.hex("\0\255z"))
    assert.equal("\0\255z", crypto.unhex("00fF7A"))
    assert.equal("", crypto.unhex(""))
    for _, text in ipairs({ "0", "0g", "0x", "@@", " 0" }) do
      assert.same({ nil, "not hexadecimal", "INVALID_HEX" }, { crypto.unhex(text) })
    end
  end)

  local misuse = {
    { "sha256", { 1 }, "crypto.sha256: argument 1 must be a string, got number" },
    {
      "hmac",
      { "sha3", "k", "s" },
      "crypto.hmac: argument 1 must be one of sha256, sha1, sha384, sha512, md5, got sha3",
    },
    { "hmac", { "sha256", nil, "s" }, "crypto.hmac: argument 2 must be a string, got nil" },
    { "random", { -1 }, "crypto.random: argument 1 must be a whole number from 0 to 1048576, got -1" },
    { "random", { 1.5 }, "crypto.random: argument 1 must be a whole number from 0 to 1048576, got 1.5" },
    { "equals", { "a" }, "crypto.equals: argument 2 must be a string, got nil" },
    { "base64", { "a", true }, "crypto.base64: argument 2 must be a table, got boolean" },
    { "unhex", {}, "crypto.unhex: argument 1 must be a string, got nil" },
  }
  for _, case in ipairs(misuse) do
    it(case[3], function()
      local ok, message = pcall(function()
        return (crypto[case[1]](unpack(case[2], 1, 3)))
      end)
      assert.is_false(ok)
      assert.equal(case[3], (message:gsub("^spec/unit/crypto_spec.lua:%d+: ", "")))
    end)
  end
end)
