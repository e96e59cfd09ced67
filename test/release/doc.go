// Package release makes a release as a user of make release does, builds the Dockerfile for two architectures, and installs the
// result on a real cluster.
//
// The Dockerfile is built by buildah. Instead of golang:1.26-bookworm, which would have to be pulled, its build argument GO_IMAGE
// names an image with a shell, into which this machine's Go, module cache and build cache are mounted.
package release
