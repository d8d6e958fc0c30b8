package pgserver

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// archive is a tar.xz of bin/postgres, a script that claims to be version 18.3,
// and bin/initdb, a script that fails.
const archive = `
/Td6WFoAAAFpIt42AgAhARwAAAAQz1jM4Cf/AKBdADEaShsFkZA3OlG9V3Gz1uEhGuzodTR9POem
V5xBuI5pdqsf/+4UwN7nrRvpQeMYsDTYmOVTf9fU1a0KQ0DBV98CTANX/llzsI2/DRDa026w76aZ
ZM9Oa74sKpvUzgsPPRUQ5y5qmeXvyBqyI9lY7M2QRKhlmiOeRWVq4hr2+8Hbd9fANCYJRfszRNXs
BZ0+pn5wpOCNwBFiszecE8n7gwAAq/z5tQABuAGAUAAA/vRJiT4wDYsCAAAAAAFZWg==`

// repository serves the archive the way Maven Central does, and counts.
func repository(t *testing.T, checksum func(jar []byte) string) (url string, downloads *atomic.Int32) {
	t.Helper()
	txz, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(archive, "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	zw := zip.NewWriter(&jar)
	w, err := zw.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(txz); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	downloads = new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			fmt.Fprint(w, checksum(jar.Bytes()))
			return
		}
		downloads.Add(1)
		_, _ = w.Write(jar.Bytes()) // a client that hung up shows in the test itself
	}))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections() // the library uses that client
		srv.Close()
	})
	return srv.URL, downloads
}

func sum(jar []byte) string { return fmt.Sprintf("%x", sha256.Sum256(jar)) }

func TestDownloadOnce(t *testing.T) {
	t.Parallel()
	url, downloads := repository(t, sum)
	var log bytes.Buffer
	cfg := Config{CacheDir: filepath.Join(t.TempDir(), "cache"), Repository: url, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	in, err := download(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if in.Version != "18.3" || in.Major != downloadMajor {
		t.Errorf("downloaded %+v", in)
	}
	if !strings.Contains(log.String(), `msg="downloading PostgreSQL" version=18`) {
		t.Errorf("the logger was not told of the download: %q", log.String())
	}
	info, err := os.Stat(filepath.Dir(in.BinDir))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o755 {
		t.Errorf("an unprivileged user cannot enter the binaries: mode %v", info.Mode())
	}
	cfg.NoDownload = true // a cached one is no download
	if again, err := download(t.Context(), cfg, nil); err != nil || again != in {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	if n := downloads.Load(); n != 1 {
		t.Errorf("%d downloads, want 1", n)
	}
	rest, err := os.ReadDir(cfg.CacheDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(rest) != 1 {
		t.Errorf("the cache holds %v besides the binaries", rest)
	}
}

func TestDownloadFailures(t *testing.T) {
	t.Parallel()
	damaged, _ := repository(t, func([]byte) string { return strings.Repeat("0", 64) })
	empty := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(empty.Close)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		cfg  Config
		want string
	}{
		"not allowed":   {t.Context(), Config{NoDownload: true}, "or allow it to be downloaded"},
		"unreachable":   {t.Context(), Config{Repository: closed.URL}, closed.URL},
		"not there":     {t.Context(), Config{Repository: empty.URL}, empty.URL},
		"wrong content": {t.Context(), Config{Repository: damaged}, damaged},
		"canceled":      {ended, Config{Repository: closed.URL}, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.CacheDir, tt.cfg.Logger = t.TempDir(), slog.New(slog.DiscardHandler)
			_, err := download(tt.ctx, tt.cfg, []Installation{{BinDir: "/old", Version: "14.1", Major: 14}})
			if err == nil {
				t.Fatal("the download succeeded")
			}
			for _, want := range []string{tt.want, "install", "14.1 in /old"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message lacks %q: %v", want, err)
				}
			}
		})
	}
}
