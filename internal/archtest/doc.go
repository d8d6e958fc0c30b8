// Package archtest keeps the import law: which package may know which.
//
// Packages stand on floors. A package imports only lower floors, and on its own
// floor only what an arrow allows; so the code can be learned from the bottom
// up, and a cycle cannot begin. Beside the floors stands a tower, the programs
// that talk to the server over the wire: it knows the words of floor 0 and the
// generated protocol, and cannot reach into the server.
//
// The law itself is law_test.go: data, with a reason per rule. A package that
// has no place in it fails the test, so that a new package is a decision; so does
// a place without a package, so that the law describes what is there.
// Test files are free: a test may drive a whole server.
package archtest
