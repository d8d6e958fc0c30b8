package pgserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MinMajor is the oldest major version of PostgreSQL that is accepted.
const MinMajor = 15

// Installation is a set of PostgreSQL binaries.
type Installation struct {
	// BinDir holds postgres and initdb.
	BinDir string
	// Version is as postgres reports it, such as "15.18".
	Version string
	// Major is the first number of Version.
	Major int
}

// usualPlaces are the directories packagers use, besides those on PATH.
var usualPlaces = []string{
	"/usr/lib/postgresql/*/bin",                          // Debian
	"/usr/pgsql-*/bin",                                   // Red Hat
	"/usr/libexec/postgresql*",                           // Alpine
	"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew, Apple silicon
	"/usr/local/opt/postgresql@*/bin",                    // Homebrew, Intel
	"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
	`C:\Program Files\PostgreSQL\*\bin`,                  // the Windows installer
}

// Locate finds the binaries that Start would run, downloading them if need be.
func Locate(ctx context.Context, cfg Config) (Installation, error) {
	cfg.fillDefaults()
	return locate(ctx, cfg)
}

// locate finds the binaries to run: those the caller names, those on the
// machine, or downloaded ones. An existing cluster can only be run by its own
// major version, so then no other is accepted.
func locate(ctx context.Context, cfg Config) (Installation, error) {
	major := 0
	if cfg.DataDir != "" {
		var err error
		if major, err = directory(cfg.DataDir).clusterMajor(); err != nil {
			return Installation{}, err
		}
	}
	if cfg.BinDir != "" {
		return named(ctx, cfg.BinDir, major)
	}
	found, tooOld := search(ctx, candidates(usualPlaces))
	for _, in := range found {
		if major == 0 || in.Major == major {
			return in, nil
		}
	}
	if major != 0 && (cfg.NoDownload || major != downloadMajor) {
		return Installation{}, fmt.Errorf("the data directory %s was made by PostgreSQL %d, which is not installed (found: %s): install PostgreSQL %d, or choose another data directory",
			cfg.DataDir, major, describe(found), major)
	}
	return download(ctx, cfg, tooOld)
}

// named accepts the installation the caller asked for, or says why not.
func named(ctx context.Context, binDir string, major int) (Installation, error) {
	in, err := inspect(ctx, binDir)
	switch {
	case err != nil:
		return in, err
	case in.Major < MinMajor:
		return in, fmt.Errorf("PostgreSQL %s in %s is too old: version %d or newer is needed", in.Version, binDir, MinMajor)
	case major != 0 && in.Major != major:
		return in, fmt.Errorf("the data directory was made by PostgreSQL %d and cannot be run by PostgreSQL %s in %s", major, in.Version, binDir)
	}
	return in, nil
}

// candidates lists directories that may hold binaries: PATH in its own order,
// then the usual places, newest first.
func candidates(places []string) []string {
	var dirs []string
	if p, err := exec.LookPath("postgres"); err == nil {
		// The link's target comes first: initdb is beside it, and seldom on PATH.
		if target, err := filepath.EvalSymlinks(p); err == nil {
			dirs = append(dirs, filepath.Dir(target))
		}
		dirs = append(dirs, filepath.Dir(p))
	}
	var more []string
	for _, pattern := range places {
		// The only error is a bad pattern, and ours are constants.
		matches, _ := filepath.Glob(pattern)
		more = append(more, matches...)
	}
	slices.SortStableFunc(more, func(a, b string) int { return cmp.Compare(numberIn(b), numberIn(a)) })
	return append(dirs, more...)
}

var digits = regexp.MustCompile(`[0-9]+`)

// numberIn returns the version that the path of an installation mentions.
func numberIn(path string) int {
	n, _ := strconv.Atoi(digits.FindString(path))
	return n
}

// search splits the installations in dirs into those that are new enough, in the
// given order, and those that are not.
func search(ctx context.Context, dirs []string) (found, tooOld []Installation) {
	for _, dir := range dirs {
		in, err := inspect(ctx, dir)
		switch {
		case err != nil: // not an installation: look on
		case in.Major < MinMajor:
			tooOld = append(tooOld, in)
		default:
			found = append(found, in)
		}
	}
	return found, tooOld
}

// inspect asks the binaries in dir for their version.
func inspect(ctx context.Context, dir string) (Installation, error) {
	// Debian's wrapper directory has a postgres of sorts, but no initdb.
	if _, err := os.Stat(filepath.Join(dir, executable("initdb"))); err != nil {
		return Installation{}, fmt.Errorf("looking for PostgreSQL in %s: %w", dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(dir, executable("postgres")), "--version").Output()
	if err != nil {
		return Installation{}, fmt.Errorf("asking PostgreSQL in %s for its version: %w", dir, err)
	}
	version, major, err := parseVersion(string(out))
	if err != nil {
		return Installation{}, fmt.Errorf("asking PostgreSQL in %s for its version: %w", dir, err)
	}
	return Installation{BinDir: dir, Version: version, Major: major}, nil
}

var versionLine = regexp.MustCompile(`^postgres \(PostgreSQL\) (([0-9]+)[^ \n]*)`)

// parseVersion reads the answer to `postgres --version`, which may be
// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)" or end in "19beta1".
func parseVersion(line string) (version string, major int, err error) {
	m := versionLine.FindStringSubmatch(line)
	if m == nil {
		return "", 0, fmt.Errorf("unexpected answer %q", line)
	}
	major, err = strconv.Atoi(m[2])
	return m[1], major, err
}

// errNoBinaries says what was looked for and what to install.
func errNoBinaries(tooOld []Installation) error {
	msg := fmt.Sprintf("PostgreSQL %d or newer was not found", MinMajor)
	if len(tooOld) > 0 {
		msg += " (too old: " + describe(tooOld) + ")"
	}
	return errors.New(msg + ": " + advice())
}

// advice names the package to install on this system.
func advice() string {
	switch runtime.GOOS {
	case "darwin":
		return "install it with `brew install postgresql@18`, or get Postgres.app"
	case "windows":
		return "install it from https://www.postgresql.org/download/windows/"
	default:
		return "install your system's package (Debian and Ubuntu: `apt install postgresql`; Fedora: `dnf install postgresql-server`; Alpine: `apk add postgresql18`)"
	}
}

func describe(installs []Installation) string {
	if len(installs) == 0 {
		return "none"
	}
	var parts []string
	for _, in := range installs {
		parts = append(parts, in.Version+" in "+in.BinDir)
	}
	return strings.Join(parts, ", ")
}
