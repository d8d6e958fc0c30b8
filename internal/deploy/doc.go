// Package deploy holds the tests of deploy/: that its files say what the
// deployment guide promises, load, and name nothing that is not there. What needs
// more than Go to be checked is checked by `make deploy-check`.
package deploy
