package openapi

import (
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/swaggest/swgui/v5/static"
)

// comments are those of the protos, see tools/protoc/protoc-gen-comments.
//
//go:embed comments/comments.json
var comments []byte

// show starts the viewer. Deep links let an operation be pointed to. The viewer
// would ask a host of its own what it thinks of the document; it must not.
const show = `window.addEventListener("load", function () {
  window.ui = SwaggerUIBundle({
    url: "` + DocumentPath + `", dom_id: "#docs", deepLinking: true, validatorUrl: null,
    docExpansion: "none", defaultModelsExpandDepth: 0, tryItOutEnabled: false, persistAuthorization: false
  });
});`

// inline keeps a script from ending, or hiding, the element that it stands in. All
// three occur in it only within strings and patterns.
var inline = strings.NewReplacer("<!--", `<\x21--`, "<script", `<\x73cript`, "</script", `<\/script`)

// page is the page, and the policy that lets it do what it must and nothing else:
// run its two scripts, use its style, and read the document. All servers of a
// process share it.
var page = sync.OnceValues(func() (*file, error) {
	style, err := asset("swagger-ui.css")
	if err != nil {
		return nil, err
	}
	script, err := asset("swagger-ui-bundle.js")
	if err != nil {
		return nil, err
	}
	script = inline.Replace(script)
	text := `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Flovyn Server API</title>
<link rel="icon" href="data:,">
<style>` + style + `</style>
</head>
<body>
<div id="docs"></div>
<script>` + script + `</script>
<script>` + show + `</script>
</body>
</html>
`
	policy := "default-src 'none'; script-src " + hash(script) + " " + hash(show) + "; style-src 'unsafe-inline'; " +
		"img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return newFile("text/html; charset=utf-8", policy, []byte(text))
})

// asset reads a file of the viewer.
func asset(name string) (string, error) {
	f, err := static.FS.Open(name + ".gz")
	if err != nil {
		return "", fmt.Errorf("the viewer has no %s: %w", name, err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		return "", fmt.Errorf("reading the viewer's %s: %w", name, err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return "", fmt.Errorf("reading the viewer's %s: %w", name, err)
	}
	return string(text), nil
}

// hash names a script in a policy.
func hash(script string) string {
	sum := sha256.Sum256([]byte(script))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
