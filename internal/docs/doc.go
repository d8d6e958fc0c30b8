// Package docs holds the tests of the documents: their links lead somewhere, and
// their examples are valid.
package docs
