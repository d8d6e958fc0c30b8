package pgserver

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const (
	downloadVersion = embeddedpostgres.V18
	downloadMajor   = 18
	mavenCentral    = "https://repo1.maven.org/maven2"
)

// download returns the binaries in the cache directory, fetching them first if
// they are not there yet and the caller allows it.
func download(ctx context.Context, cfg Config, tooOld []Installation) (Installation, error) {
	none := Installation{}
	cache := cmp.Or(cfg.CacheDir, DefaultCacheDir())
	dir := filepath.Join(cache, "postgresql-"+string(downloadVersion))
	if in, err := inspect(ctx, filepath.Join(dir, "bin")); err == nil {
		return in, nil
	}
	if cfg.NoDownload {
		return none, fmt.Errorf("%w; or allow it to be downloaded", errNoBinaries(tooOld))
	}
	if err := makeParents(dir); err != nil {
		return none, fmt.Errorf("making the cache directory %s: %w", cache, err)
	}
	tmp, err := os.MkdirTemp(cache, "download-")
	if err != nil {
		return none, fmt.Errorf("making a download directory: %w", err)
	}
	defer os.RemoveAll(tmp)
	from := cmp.Or(cfg.Repository, mavenCentral)
	cfg.Logger.InfoContext(ctx, "downloading PostgreSQL", "version", string(downloadVersion), "from", from, "to", dir)
	if err := fetch(ctx, from, tmp); err != nil {
		return none, fmt.Errorf("%w; downloading PostgreSQL %s from %s did not work either: %w", errNoBinaries(tooOld), downloadVersion, from, err)
	}
	// Somebody else may have finished the same download: either result will do.
	if err := os.Rename(filepath.Join(tmp, "runtime"), dir); err != nil && !isDir(dir) {
		return none, fmt.Errorf("installing PostgreSQL into %s: %w", dir, err)
	}
	in, err := inspect(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return none, fmt.Errorf("the downloaded PostgreSQL %s does not run: %w", downloadVersion, err)
	}
	return in, nil
}

// fetch downloads and unpacks the binaries into tmp/runtime.
//
// The library has no call for that alone, only one that goes on to run initdb
// and pg_ctl as the present user, which root may not. So its data directory is a
// path that it cannot clear (removing "." is refused): it gives up right after
// unpacking. Whether it unpacked is seen from the files, never from its error.
//
// The library's download cannot be canceled; when ctx ends it goes on in the
// background and its result is not used.
func fetch(ctx context.Context, repository, tmp string) error {
	runtime := filepath.Join(tmp, "runtime")
	library := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(downloadVersion).
		BinaryRepositoryURL(strings.TrimSuffix(repository, "/")).
		CachePath(filepath.Join(tmp, "archive")).
		RuntimePath(runtime).
		DataPath(runtime + string(filepath.Separator) + "none" + string(filepath.Separator) + ".").
		Port(0). // it probes the port for being free
		Logger(io.Discard))
	done := make(chan error, 1)
	go func() { done <- library.Start() }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		if _, missing := os.Stat(filepath.Join(runtime, "bin", executable("initdb"))); missing != nil {
			return err
		}
		// The unpacked top directory has the private mode of a temporary one.
		return os.Chmod(runtime, 0o755)
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
