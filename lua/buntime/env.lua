--- `buntime.env` as a module.
return require("buntime").env
