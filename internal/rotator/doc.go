// Package rotator owns the webhook's trust: a private CA, the serving
// certificate signed by it, the Secret that holds both, and the caBundle by
// which every kube-apiserver verifies us.
//
// # For operators
//
// Everything lives in one Secret:
//
//	ca.crt       the bundle: the CA that signs, then the one that will sign or did sign
//	ca.key       the key of the first CA in ca.crt
//	next-ca.key  the key of the second CA, only while a new CA is staged
//	tls.crt/.key the serving certificate
//
// and one annotation, sts-webhook.custom-system/rotation, that says when the
// last step was taken. Nothing is mounted; keys stay in memory and in etcd.
//
// A CA is replaced in three steps, --ca-overlap apart, so that every apiserver
// trusts a CA long before a certificate signed by it is served, and trusts it
// long after the last one was:
//
//	stage    ca.crt = CURRENT NEXT   tls.crt signed by CURRENT
//	promote  ca.crt = NEXT CURRENT   tls.crt signed by NEXT
//	retire   ca.crt = NEXT           tls.crt signed by NEXT
//
// A Secret that is deleted, emptied or damaged is not a reason to rotate: each
// replica remembers the last good keyring and writes it back. To replace a CA
// on purpose use "sts-webhook rotate", never "kubectl delete secret".
//
// # How it is built
//
// cert-controller (the engine) creates certificates, renews the serving
// certificate and injects ca.crt into the webhook configuration. It would also
// re-key abruptly; the guard, the client that we hand to it, turns that into a
// restoration. One loop of our own (Rotator.reconcile) watches the Secret and
// the webhook configuration, remembers, repairs, and takes the steps above.
// What to do is decided by the pure functions judge, plan and choose; every
// write is one Update guarded by resourceVersion, so any replica may do it, at
// any moment, without a leader.
package rotator
