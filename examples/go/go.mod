module mayfly.example/secret_reader

go 1.21
