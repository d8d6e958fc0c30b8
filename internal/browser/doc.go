// Package browser holds nothing but tests: a real browser uses the server as a web
// page does.
package browser
