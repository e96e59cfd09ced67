package mutator

func (d *decoder) document() error {
	var seen bool
	return d.object("AdmissionReview", &seen, func(name []byte) error {
		switch string(name) {
		case "apiVersion":
			return d.text("apiVersion", &d.apiVersion)
		case "kind":
			return d.text("kind", &d.kind)
		case "request":
			return d.request()
		}
		return d.scan.Skip()
	})
}

func (d *decoder) request() error {
	var (
		r                                      = &d.review
		uid, namespace, subresource, operation member
		kind, resource                         bool
		object, dryRun                         bool
	)
	err := d.object("request", &d.seenRequest, func(name []byte) error {
		switch string(name) {
		case "uid":
			return d.text("request.uid", &uid)
		case "namespace":
			return d.text("request.namespace", &namespace)
		case "operation":
			return d.text("request.operation", &operation)
		case "kind":
			return d.groupVersion("request.kind", "kind", &kind, &r.kind)
		case "resource":
			return d.groupVersion("request.resource", "resource", &resource, &r.resource)
		case "subResource":
			return d.text("request.subResource", &subresource)
		case "dryRun":
			return d.flag("request.dryRun", &dryRun, &r.dryRun)
		case "object":
			return d.podObject(&object)
		}
		return d.scan.Skip()
	})
	r.uid, r.namespace = uid.value, namespace.value
	r.subresource, r.operation = subresource.value, operation.value
	return err
}

// groupVersion reads a GroupVersionKind or GroupVersionResource, whose third
// member has the name third.
func (d *decoder) groupVersion(path, third string, seen *bool, into *groupVersionName) error {
	var group, version, last member
	err := d.object(path, seen, func(name []byte) error {
		switch string(name) {
		case "group":
			return d.text(path, &group)
		case "version":
			return d.text(path, &version)
		case third:
			return d.text(path, &last)
		}
		return d.scan.Skip()
	})
	*into = groupVersionName{group.value, version.value, last.value}
	return err
}
