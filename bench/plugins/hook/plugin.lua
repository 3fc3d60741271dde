return function()
  return {
    onRequest = function(req)
      if req.path == "/blocked" then
        return { status = 403, body = "no" }
      end
    end,
  }
end
