"""What tests share: places, made inputs, servers."""
