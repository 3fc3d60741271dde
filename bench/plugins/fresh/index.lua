return {
  fetch = function()
    return { message = "Hello from Buntime" }
  end,
}
