package helm

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	chartutil "helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"
)

const (
	repository = "../../.."
	directory  = repository + "/charts/sts-webhook"
	notes      = "templates/NOTES.txt"
)

// release is a rendering: text by file, and objects by kind, namespace and name.
type release struct {
	notes   string
	objects map[string]map[string]any
	hooks   map[string]map[string]any
}

// render renders the chart as helm install --set ... would, which includes the check by the schema.
func render(t *testing.T, namespace string, settings ...string) (release, error) {
	t.Helper()
	return renderOn(t, "v1.36.0", namespace, settings...)
}

func renderOn(t *testing.T, kubernetes, namespace string, settings ...string) (release, error) {
	t.Helper()
	values := map[string]any{}
	for _, s := range settings {
		must(t, strvals.ParseInto(s, values))
	}
	version, err := common.ParseKubeVersion(kubernetes)
	must(t, err)
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	c := load(t)
	all, err := chartutil.ToRenderValues(c, values, common.ReleaseOptions{Name: "test", Namespace: namespace, Revision: 1, IsInstall: true}, capabilities)
	if err != nil {
		return release{}, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return release{}, err
	}
	r := release{objects: map[string]map[string]any{}, hooks: map[string]map[string]any{}}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(file, notes) {
			r.notes = files[file]
			continue
		}
		for key, object := range parse(t, files[file]) {
			to := r.objects
			if annotations, _ := object["metadata"].(map[string]any)["annotations"].(map[string]any); annotations["helm.sh/hook"] != nil {
				to = r.hooks
			}
			if to[key] != nil {
				t.Errorf("%s is rendered twice", key)
			}
			to[key] = object
		}
	}
	return r, nil
}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(directory)
	must(t, err)
	return c
}

// parse returns the objects of a file by kind, namespace and name.
func parse(t *testing.T, text string) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	for _, part := range regexp.MustCompile(`(?m)^---$`).Split(text, -1) {
		var object map[string]any
		if err := yaml.UnmarshalStrict([]byte(part), &object); err != nil {
			t.Fatalf("%v in\n%s", err, part)
		}
		if object == nil {
			continue
		}
		metadata := object["metadata"].(map[string]any)
		key := fmt.Sprintf("%s %s/%s", object["kind"], cmp.Or(metadata["namespace"], any("")), metadata["name"])
		if found[key] != nil {
			t.Errorf("%s is there twice", key)
		}
		found[key] = object
	}
	return found
}

// manifests returns the objects of files of manifests/.
func manifests(t *testing.T, pattern string) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository, "manifests", pattern))
	must(t, err)
	if len(files) == 0 {
		t.Fatalf("there is no manifests/%s", pattern)
	}
	all := map[string]map[string]any{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		maps.Copy(all, parse(t, string(text)))
	}
	return all
}

func TestDefaultsRenderTheManifests(t *testing.T) {
	got, err := render(t, "default")
	must(t, err)
	if diff := gocmp.Diff(manifests(t, "*.yaml"), got.objects); diff != "" {
		t.Errorf("the chart differs from manifests/*.yaml (-want +got):\n%s", diff)
	}
	// What the webhook writes is in no object, so that Helm never owns it.
	for _, configuration := range []string{"Mutating", "Validating"} {
		object := got.objects[configuration+"WebhookConfiguration /sts-"+strings.ToLower(configuration)+"-webhook"]
		for _, entry := range object["webhooks"].([]any) {
			if bundle, has := entry.(map[string]any)["clientConfig"].(map[string]any)["caBundle"]; has {
				t.Errorf("%s has the caBundle %v, want none", configuration, bundle)
			}
		}
	}
	if data, has := got.objects["Secret custom-system/sts-webhook-certs"]["data"]; has {
		t.Errorf("the Secret has the data %v, want none", data)
	}
	if len(got.hooks) != 0 {
		t.Errorf("got the hooks %v, want none", got.hooks)
	}
}

// switches are the values that add or leave out files of manifests/.
var switches = map[string]struct{ with, without string }{
	"gate.enabled=true":                 {with: "optional/gate/*.yaml"},
	"networkPolicy.enabled=true":        {with: "optional/network-policy/*.yaml"},
	"monitoring.enabled=true":           {with: "optional/monitoring/*.yaml"},
	"flowSchema.enabled=true":           {with: "optional/flow-schema/*.yaml"},
	"checks.volumes=true":               {with: "optional/check-volumes/*.yaml"},
	"checks.nodes=false":                {without: "11-rbac-nodes.yaml"},
	"checks.statefulSets=false":         {without: "06-validating-webhook.yaml"},
	"events.enabled=false":              {without: "12-rbac-events.yaml"},
	"podDisruptionBudget.enabled=false": {without: "45-pod-disruption-budget.yaml"},
}

// Each optional part is the files of manifests/ and nothing else.
func TestSwitchesRenderFiles(t *testing.T) {
	for setting, c := range switches {
		t.Run(setting, func(t *testing.T) {
			got, err := render(t, "default", setting)
			must(t, err)
			want := manifests(t, "*.yaml")
			if c.with != "" {
				maps.Copy(want, manifests(t, c.with))
			}
			if c.without != "" {
				for key := range manifests(t, c.without) {
					delete(want, key)
				}
			}
			delete(want, deployment) // its flags: TestValuesChangeTheDeployment
			delete(got.objects, deployment)
			if diff := gocmp.Diff(want, got.objects); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A folder of manifests/optional/ is in the chart, or is named here with the reason.
func TestChartHasEveryOptionalFolder(t *testing.T) {
	known := []string{"optional/service-monitor/*.yaml"} // in place of a PodMonitor; not in the chart
	for _, c := range switches {
		known = append(known, c.with)
	}
	folders, err := filepath.Glob(filepath.Join(repository, "manifests/optional/*"))
	must(t, err)
	for _, folder := range folders {
		if name := filepath.Base(folder); !slices.Contains(known, "optional/"+name+"/*.yaml") {
			t.Errorf("manifests/optional/%s is new: give the chart a value for it, and a row in switches", name)
		}
	}
}

func TestReleaseInItsOwnNamespaceDoesNotOwnIt(t *testing.T) {
	got, err := render(t, "custom-system")
	must(t, err)
	want := manifests(t, "*.yaml")
	delete(want, "Namespace /custom-system")
	if diff := gocmp.Diff(want, got.objects); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// On uninstallation the gate goes before the webhook: the hook has the name of its binding, and names no policy.
func TestUninstallationTakesTheGateAwayFirst(t *testing.T) {
	got, err := render(t, "default", "gate.enabled=true")
	must(t, err)
	binding := "MutatingAdmissionPolicyBinding /sts-webhook-gate"
	const wait = "Pod custom-system/sts-webhook-uninstall"
	if got.objects[binding] == nil || len(got.hooks) != 2 || got.hooks[binding] == nil || got.hooks[wait] == nil {
		t.Fatalf("got the hooks %v, want %s and %s", slices.Collect(maps.Keys(got.hooks)), binding, wait)
	}
	policy := got.hooks[binding]["spec"].(map[string]any)["policyName"]
	if key := fmt.Sprintf("MutatingAdmissionPolicy /%s", policy); got.objects[key] != nil {
		t.Errorf("the hook binds %s, which exists", key)
	}
	annotations := got.hooks[binding]["metadata"].(map[string]any)["annotations"]
	want := map[string]any{"helm.sh/hook": "pre-delete", "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded"}
	if diff := gocmp.Diff(any(want), annotations); diff != "" {
		t.Errorf("annotations of the hook (-want +got):\n%s", diff)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
