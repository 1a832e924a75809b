// Command schema decodes Kubernetes manifests strictly into Kubernetes' own types: a field that there is not, or of another
// type, is an error, as with kubectl --validate=strict. It prints each object as JSON, one a line, for who checks more.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// kinds are what the manifests may be made of.
func kinds() map[string]any {
	return map[string]any{
		"v1 Namespace": &corev1.Namespace{}, "v1 Service": &corev1.Service{}, "v1 PersistentVolume": &corev1.PersistentVolume{},
		"v1 PersistentVolumeClaim": &corev1.PersistentVolumeClaim{}, "apps/v1 StatefulSet": &appsv1.StatefulSet{},
		"apps/v1 Deployment": &appsv1.Deployment{}, "policy/v1 PodDisruptionBudget": &policyv1.PodDisruptionBudget{},
	}
}

func main() {
	failed := false
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			failed = true
		}
	}
	if failed || len(os.Args) < 2 {
		os.Exit(1)
	}
}

func check(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for i, doc := range bytes.Split(data, []byte("\n---\n"))[1:] { // the first is a comment
		var head metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &head); err != nil {
			return fmt.Errorf("object %d: %w", i+1, err)
		}
		object, known := kinds()[head.APIVersion+" "+head.Kind]
		if !known {
			return fmt.Errorf("object %d is a %s of %s, which is not expected here", i+1, head.Kind, head.APIVersion)
		}
		asJSON, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return fmt.Errorf("object %d, a %s: %w", i+1, head.Kind, err)
		}
		unknown, err := kjson.UnmarshalStrict(asJSON, object) // as the API server decodes: the case of letters counts
		if err := errors.Join(append(unknown, err)...); err != nil {
			return fmt.Errorf("object %d, a %s: %w", i+1, head.Kind, err)
		}
		line, err := json.Marshal(object)
		if err != nil {
			return fmt.Errorf("object %d, a %s: %w", i+1, head.Kind, err)
		}
		fmt.Printf("%s\n", line)
	}
	return nil
}
