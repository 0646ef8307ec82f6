//go:build tools

// Package tools names the program that scripts/build-compose builds, so that go.mod keeps its modules.
package tools

import _ "github.com/docker/compose/v5/cmd"
