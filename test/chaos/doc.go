// Package chaos breaks the webhook in a real cluster while pods are created, and
// counts the creations that were lost. The textbook webhook (test/textbook)
// suffers the same in the same cluster, as the control.
//
//	TEST_CLUSTER=1 go test -short -run Chaos -v ./test/chaos                       a selection, 3 minutes
//	TEST_CLUSTER=1 go test -run Chaos -v ./test/chaos -write docs/rotation.md      everything, 40 minutes (make test-chaos)
//	TEST_CLUSTER=1 go test -run 'Chaos/caBundle' -v ./test/chaos                   some scenarios
//
// A scenario (see scenarios_test.go) is an injection and what is expected after it. The
// injection is a step, a function that ends the test if it fails; ours and the textbook
// are subtests that run at the same time. Both are under a load of their own, from before
// the injection until they have settled: every replica runs, and each of them serves a
// certificate that the caBundle verifies. Watches of the Secret and of the webhook
// configuration record every version, which gives the time of each repair and the number
// of writes; the logs of our replicas are read for errors.
//
// A machine that stalls delays repairs, too. A pod that no webhook sees is created
// five times a second; when that took long, and everything that went wrong in the
// attempt is a timeout or a delay, the attempt is repeated, at most twice.
package chaos
