// Package sql holds the database schema as text: migrations, which the server
// runs at start, and queries, from which typed Go is generated.
package sql

import "embed"

// Migrations are the schema's steps, in the folder "migrations".
//
//go:embed migrations/*.sql
var Migrations embed.FS
