std = "luajit"
read_globals = { "buntime" }
max_line_length = 110
unused_args = false
cache = false
exclude_files = { "build*/**", "**/node_modules/**", "spec/fixtures/**/broken*.lua" }

files["**/*_spec.lua"] = { std = "+busted" }
files["spec/**"] = { std = "+busted" }
-- Stubs declare functions that have no body.
files["lua/buntime/_meta/**"] = { ignore = { "211", "212", "241" } }
-- Plugins that are broken on purpose.
files["spec/fixtures/**"] = { ignore = { "1..", "211", "212", "511", "512" } }
-- wrk runs these.
files["bench/echo.lua"] = { globals = { "wrk" } }
-- What readies a VM replaces parts of the standard library.
files["lua/buntime/boot.lua"] = { ignore = { "121", "122" } }
files["lua/buntime/test.lua"] = { ignore = { "122" } }
-- A page.
files["lua/buntime/api/docs_page.lua"] = { max_line_length = 160 }
