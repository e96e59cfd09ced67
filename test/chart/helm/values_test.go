package helm

import (
	"encoding/json"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

const deployment = "Deployment custom-system/sts-webhook"

// What each value changes in the Deployment. A change is written as a path of the object and its new value.
func TestValuesChangeTheDeployment(t *testing.T) {
	const pod, container = "spec.template.spec.", "spec.template.spec.containers.0."
	for sentence, c := range map[string]struct {
		set  []string
		want map[string]string
	}{
		"replicas":             {[]string{"replicas=3"}, map[string]string{"spec.replicas": `3`}},
		"an image by tag":      {[]string{"image.repository=r.example/a", "image.tag=v1"}, map[string]string{container + "image": `"r.example/a:v1"`}},
		"an image by digest":   {[]string{"image.tag=v1", "image.digest=" + digest}, map[string]string{container + "image": `"sts-webhook@` + digest + `"`}},
		"when to pull":         {[]string{"image.pullPolicy=Always"}, map[string]string{container + "imagePullPolicy": `"Always"`}},
		"pull secrets":         {[]string{"image.pullSecrets={a,b}"}, map[string]string{pod + "imagePullSecrets": `[{"name":"a"},{"name":"b"}]`}},
		"one resource":         {[]string{"resources.limits.memory=1Gi"}, map[string]string{container + "resources.limits.memory": `"1Gi"`}},
		"a flag":               {[]string{"args={--v=1}"}, map[string]string{container + "args": `["--v=1"]`}},
		"nodes":                {[]string{"nodeSelector.disk=ssd"}, map[string]string{pod + "nodeSelector": `{"disk":"ssd"}`}},
		"tolerations":          {[]string{"tolerations[0].key=a", "tolerations[0].operator=Exists"}, map[string]string{pod + "tolerations": `[{"key":"a","operator":"Exists"}]`}},
		"affinity":             {[]string{"affinity.podAffinity.a=b"}, map[string]string{pod + "affinity": `{"podAffinity":{"a":"b"}}`}},
		"a priority class":     {[]string{"priorityClassName=high"}, map[string]string{pod + "priorityClassName": `"high"`}},
		"no priority class":    {[]string{"priorityClassName="}, map[string]string{pod + "priorityClassName": ``}},
		"no Events":            {[]string{"events.enabled=false"}, map[string]string{container + "args": `["--events=false"]`}},
		"no check of nodes":    {[]string{"checks.nodes=false"}, map[string]string{container + "args": `["--check-nodes=false"]`}},
		"flags of two values":  {[]string{"checks.volumes=true", "args={--v=1}"}, map[string]string{container + "args": `["--check-volumes","--v=1"]`}},
		"another alert Secret": {[]string{"alerts.existingSecret=mine"}, map[string]string{pod + "volumes.0.secret.secretName": `"mine"`}},
		"an address in values": {[]string{"alerts.url=u", "alerts.secret=s"}, nil},
		"the gate":             {[]string{"gate.enabled=true"}, nil},
		"a robot of a team": {[]string{"alerts.robots[0].name=bank", "alerts.robots[0].existingSecret=s"}, map[string]string{
			container + "volumeMounts.1": `{"mountPath":"/etc/sts-webhook/robots/bank","name":"robot-bank","readOnly":true}`,
			pod + "volumes.1":            `{"name":"robot-bank","secret":{"defaultMode":288,"optional":true,"secretName":"s"}}`,
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := render(t, "default", c.set...)
			must(t, err)
			want := manifests(t, "40-deployment.yaml")[deployment]
			for path, value := range c.want {
				put(t, want, strings.Split(path, "."), value)
			}
			if diff := gocmp.Diff(want, got.objects[deployment]); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

var digest = "sha256:" + strings.Repeat("0a", 32)

// put sets what is at a path to a JSON value; none removes it. An index beyond the end of a list appends.
func put(t *testing.T, object any, path []string, value string) {
	t.Helper()
	var decoded any
	if value != "" {
		must(t, json.Unmarshal([]byte(value), &decoded))
	}
	fields := object.(map[string]any)
	if len(path) == 1 {
		if fields[path[0]] = decoded; value == "" {
			delete(fields, path[0])
		}
		return
	}
	list, isList := fields[path[0]].([]any)
	switch {
	case !isList:
		put(t, fields[path[0]], path[1:], value)
	case len(path) == 2:
		fields[path[0]] = append(list, decoded)
	default:
		put(t, list[0], path[2:], value)
	}
}

func TestOtherValues(t *testing.T) {
	got, err := render(t, "default", "alerts.url=https://a", "alerts.secret=SEC1", "networkPolicy.enabled=true",
		"networkPolicy.podNetworks={10.1.0.0/16,fd00::/8}", "networkPolicy.monitoringNamespace=m", "podDisruptionBudget.minAvailable=2")
	must(t, err)
	if diff := gocmp.Diff(any(map[string]any{"url": "aHR0cHM6Ly9h", "secret": "U0VDMQ=="}), got.objects["Secret custom-system/sts-webhook-dingtalk"]["data"]); diff != "" {
		t.Errorf("Secret of alerts (-want +got):\n%s", diff)
	}
	budget := manifests(t, "45-pod-disruption-budget.yaml")["PodDisruptionBudget custom-system/sts-webhook"]
	budget["spec"].(map[string]any)["minAvailable"] = 2.0
	if diff := gocmp.Diff(budget, got.objects["PodDisruptionBudget custom-system/sts-webhook"]); diff != "" {
		t.Errorf("PodDisruptionBudget (-want +got):\n%s", diff)
	}
	policy := manifests(t, "optional/network-policy/*.yaml")["NetworkPolicy custom-system/sts-webhook"]
	text, err := json.Marshal(policy)
	must(t, err)
	changed := strings.NewReplacer(`["10.244.0.0/16"]`, `["10.1.0.0/16","fd00::/8"]`, `"monitoring"`, `"m"`).Replace(string(text))
	must(t, json.Unmarshal([]byte(changed), &policy))
	if diff := gocmp.Diff(policy, got.objects["NetworkPolicy custom-system/sts-webhook"]); diff != "" {
		t.Errorf("NetworkPolicy (-want +got):\n%s", diff)
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for setting, want := range map[string]string{
		"replica=3":                               "additional properties 'replica' not allowed",
		"image.name=a":                            "at '/image': additional properties 'name' not allowed",
		"gate=true":                               "at '/gate': got boolean, want object",
		"gate.enabled=yes":                        "at '/gate/enabled': got string, want boolean",
		"replicas=0":                              "at '/replicas': minimum: got 0, want 1",
		"replicas=two":                            "at '/replicas': got string, want integer",
		"image.tag=1":                             "at '/image/tag': got number, want string",
		"image.digest=sha256:1":                   "at '/image/digest': 'sha256:1' does not match pattern",
		"image.pullPolicy=Sometimes":              "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
		"resources.limit.memory=1Gi":              "at '/resources': additional properties 'limit' not allowed",
		"args={v=1}":                              "at '/args/0': 'v=1' does not match pattern",
		"tolerations[0].effect=No":                "at '/tolerations/0/effect': value must be one of",
		"affinity.node=a":                         "at '/affinity': additional properties 'node' not allowed",
		"nodeSelector.a=1":                        "at '/nodeSelector/a': got number, want string",
		"alerts.robots[0].name=a":                 "at '/alerts/robots/0': missing property 'existingSecret'",
		"alerts.existingSecret=A_b":               "at '/alerts/existingSecret': 'A_b' does not match pattern",
		"networkPolicy.podNetworks={all}":         "at '/networkPolicy/podNetworks/0': 'all' does not match pattern",
		"podDisruptionBudget.minAvailable=0":      "at '/podDisruptionBudget/minAvailable': minimum: got 0, want 1",
		"checks.volume=true":                      "at '/checks': additional properties 'volume' not allowed",
		"events.on=true":                          "at '/events': additional properties 'on' not allowed",
		"monitoring.label=a":                      "at '/monitoring': additional properties 'label' not allowed",
		"args={--check-nodes=false}":              "args: --check-nodes is set by the value checks.nodes",
		"args={--events}":                         "args: --events is set by the value events.enabled",
		"args={--listen-address=:1}":              "args: --listen-address cannot be changed",
		"alerts.secret=SEC1":                      "alerts.secret without alerts.url",
		"checks.volumes=true,checks.nodes=false":  "checks.volumes needs checks.nodes",
		"alerts.url=u,alerts.existingSecret=mine": "alerts.url and alerts.existingSecret exclude each other",
	} {
		if _, err := render(t, "default", setting); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: got error %v, want %q", setting, err, want)
		}
	}
	if _, err := renderOn(t, "v1.35.4", "default", "gate.enabled=true"); err == nil || !strings.Contains(err.Error(), "gate.enabled needs Kubernetes 1.36, this is v1.35.4") {
		t.Errorf("the gate on Kubernetes 1.35: got error %v", err)
	}
}

// Every object of the schema that lists properties refuses others, and has all those of values.yaml.
func TestSchemaIsStrict(t *testing.T) {
	var schema map[string]any
	must(t, json.Unmarshal(load(t).Schema, &schema))
	checkStrict(t, "values", schema)
	for key, value := range load(t).Values {
		property, _ := schema["properties"].(map[string]any)[key].(map[string]any)
		if property == nil {
			t.Errorf("the schema lacks %s = %v", key, value)
		}
	}
}

func checkStrict(t *testing.T, path string, schema any) {
	t.Helper()
	fields, isObject := schema.(map[string]any)
	if !isObject {
		return
	}
	if fields["properties"] != nil && fields["type"] == "object" && fields["additionalProperties"] != false {
		t.Errorf("%s: additionalProperties is %v, want false", path, fields["additionalProperties"])
	}
	for key, value := range fields {
		checkStrict(t, path+"."+key, value)
	}
}
