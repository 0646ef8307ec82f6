# What Mayfly's token may on the server: read the shop's secrets, and see whether they have changed.
path "kv/data/shop/*" {
  capabilities = ["read"]
}
path "kv/metadata/shop/*" {
  capabilities = ["read"]
}
