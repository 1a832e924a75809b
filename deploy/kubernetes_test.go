package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// manifests decodes all of kubernetes/*.yaml strictly into Kubernetes' own types, which have a module of their own
// (kubernetes/schema), and gives the objects.
func manifests(t *testing.T) []map[string]any {
	t.Helper()
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("the manifests are %v (%v)", files, err)
	}
	schema := schemaProgram(t)
	cmd := exec.CommandContext(t.Context(), schema, files...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the manifests are not what Kubernetes takes: %v\n%s", err, &errs)
	}
	var all []map[string]any
	for line := range bytes.Lines(out) {
		var object map[string]any
		decode(t, line, &object)
		all = append(all, object)
	}
	return all
}

// schemaProgram builds what decodes manifests.
func schemaProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "schema")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	cmd.Dir = "kubernetes/schema"
	if out, err := cmd.CombinedOutput(); err != nil {
		download := exec.CommandContext(t.Context(), "go", "mod", "download")
		download.Dir = cmd.Dir
		if more, err := download.CombinedOutput(); err != nil {
			t.Skipf("Kubernetes' types cannot be downloaded: %v\n%s", err, more)
		}
		t.Fatalf("building kubernetes/schema: %v\n%s", err, out)
	}
	return path
}

// at follows names and numbers into an object.
func at(object any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := object.(map[string]any)
			object = m[step]
		case int:
			l, _ := object.([]any)
			if step >= len(l) {
				return nil
			}
			object = l[step]
		}
	}
	return object
}

func text(object any, path ...any) string { return fmt.Sprint(at(object, path...)) }

// of are the objects of a kind, by name.
func of(all []map[string]any, kind string) map[string]map[string]any {
	found := map[string]map[string]any{}
	for _, o := range all {
		if o["kind"] == kind {
			found[text(o, "metadata", "name")] = o
		}
	}
	return found
}

// The manifests decode; the replicas are alike but for their number, on nodes of their own, with their own key and no other;
// what refers to something refers to something that is there; the commands are ones that bfsd takes.
func TestKubernetesManifests(t *testing.T) {
	all := manifests(t)
	sets, gateways := of(all, "StatefulSet"), of(all, "Deployment")
	if len(sets) != 4 || len(gateways) != 1 {
		t.Fatalf("there are %d StatefulSets and %d Deployments, want 4 and 1", len(sets), len(gateways))
	}
	service := of(all, "Service")["bfsd"]
	if text(service, "spec", "clusterIP") != "None" || text(service, "spec", "publishNotReadyAddresses") != "true" {
		t.Errorf("the service is not headless, or hides who is not ready: %v", service)
	}
	var first string
	var commands [][]string
	var hosts []string
	for i := range 4 {
		name := fmt.Sprint("bfsd-", i)
		set := sets[name]
		pod := at(set, "spec", "template", "spec")
		b, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		same := strings.NewReplacer(name, "bfsd-I", fmt.Sprintf(`"bfsd/replica":"%d"`, i), `"bfsd/replica":"I"`, fmt.Sprintf("--id=%d", i), "--id=I", fmt.Sprint("bfsd-replica-", i), "bfsd-replica-I").Replace(string(b))
		if i == 0 {
			first = same
		} else if same != first {
			t.Errorf("StatefulSet %d is another than 0 in more than its number:\n%s\n%s", i, same, first)
		}
		if text(set, "spec", "replicas") != "1" || text(set, "spec", "serviceName") != "bfsd" {
			t.Errorf("%s: %v replicas, service %v", name, at(set, "spec", "replicas"), at(set, "spec", "serviceName"))
		}
		anti := at(pod, "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution", 0)
		if text(anti, "topologyKey") != "kubernetes.io/hostname" || text(anti, "labelSelector", "matchLabels") != text(service, "spec", "selector") {
			t.Errorf("%s may run on a node with another: %v", name, anti)
		}
		var secrets []string
		volumes, _ := at(pod, "volumes").([]any)
		for _, v := range volumes {
			if s := at(v, "secret", "secretName"); s != nil {
				secrets = append(secrets, fmt.Sprint(s))
			}
		}
		if want := []string{fmt.Sprint("bfsd-replica-", i)}; !slices.Equal(secrets, want) {
			t.Errorf("%s has the secrets %v, want %v alone", name, secrets, want)
		}
		if text(set, "spec", "volumeClaimTemplates", 0, "metadata", "name") != "data" {
			t.Errorf("%s claims no volume for its data", name)
		}
		commands = append(commands, args(pod))
		hosts = append(hosts, name+"-0.bfsd.bfsd.svc.cluster.local")
	}
	gateway := at(gateways["bfsd-gateway-100"], "spec", "template", "spec")
	if text(gateway, "hostNetwork") != "true" || !slices.Contains(args(gateway), "--nfs=127.0.0.1:12049") {
		t.Errorf("the gateway does not serve at its node's loopback: %v", gateway)
	}
	commands = append(commands, args(gateway))
	volume := of(all, "PersistentVolume")["bfsd"]
	for _, option := range []string{"port=12049", "mountport=12049", "vers=3", "hard", "nolock"} {
		if options, _ := at(volume, "spec", "mountOptions").([]any); !slices.Contains(options, any(option)) {
			t.Errorf("the volume is mounted without %s: %v", option, options)
		}
	}
	if text(volume, "spec", "nfs", "server") != "127.0.0.1" || text(of(all, "PersistentVolumeClaim")["bfsd"], "spec", "volumeName") != "bfsd" {
		t.Error("the volume is not through the gateway, or the claim of another volume")
	}
	understood(t, commands)
	page := read(t, "kubernetes/README.md")
	for _, want := range append(hosts, "bfsd-replica-$i", "bfsd-gateway-100", "configmap bfsd-cluster") {
		if !strings.Contains(page, want) {
			t.Errorf("kubernetes/README.md does not make %s", want)
		}
	}
}

// A manifest with a field that Kubernetes has not is refused: the check can fail.
func TestKubernetesSchemaRefuses(t *testing.T) {
	schema := schemaProgram(t)
	for name, change := range map[string][2]string{
		"a misspelled field": {"clusterIP:", "clusterIp:"},
		"another type":       {"minAvailable: 3", "minAvailable: [3]"},
		"an unknown kind":    {"kind: Service", "kind: Sevrice"},
	} {
		file := filepath.Join(t.TempDir(), "cluster.yaml")
		if err := os.WriteFile(file, []byte(strings.Replace(read(t, "kubernetes/cluster.yaml"), change[0], change[1], 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), schema, file).CombinedOutput(); err == nil {
			t.Errorf("%s is taken: %s", name, out)
		}
	}
}

// args are those of a pod's only container.
func args(pod any) []string {
	var out []string
	list, _ := at(pod, "containers", 0, "args").([]any)
	for _, a := range list {
		out = append(out, fmt.Sprint(a))
	}
	return out
}

// understood runs bfsd with command lines whose cluster.toml is not there: it fails over that (1), not over its usage (2).
func understood(t *testing.T, commands [][]string) {
	t.Helper()
	binary := build(t)
	for _, line := range commands {
		line = slices.Clone(line)
		for i := range line {
			line[i] = strings.ReplaceAll(line[i], "/etc/bfsd/", "/nonexistent/bfsd/")
		}
		out, err := exec.CommandContext(context.WithoutCancel(t.Context()), binary, line...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !bytes.Contains(out, []byte("/nonexistent/bfsd/cluster.toml")) {
			t.Errorf("bfsd %s: %v, want exit status 1 for a missing cluster.toml\n%s", strings.Join(line, " "), err, out)
		}
	}
}
