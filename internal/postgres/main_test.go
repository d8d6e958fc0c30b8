package postgres_test

import (
	"testing"

	"github.com/flovyn/flovyn-server/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
