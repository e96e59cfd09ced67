package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// placer is the mutation: the node group by the parity of the ordinal.
type placer struct{ decoder admission.Decoder }

type placement struct {
	Key  string `json:"key"`
	Even string `json:"even"`
	Odd  string `json:"odd"`
}

// Handle answers one admission request.
func (p *placer) Handle(_ context.Context, req admission.Request) admission.Response {
	var pod corev1.Pod
	if err := p.decoder.Decode(req, &pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if pod.Name == "" {
		pod.Name = req.Name
	}
	if err := place(&pod); err != nil {
		return admission.Denied(err.Error())
	}
	mutated, err := json.Marshal(&pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, mutated)
}

func place(pod *corev1.Pod) error {
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind != "StatefulSet" {
		return errors.New("no StatefulSet owns this pod")
	}
	ordinal, err := strconv.Atoi(strings.TrimPrefix(pod.Name, owner.Name+"-"))
	if err != nil {
		return fmt.Errorf("read ordinal of %s: %w", pod.Name, err)
	}
	var want placement
	if err := json.Unmarshal([]byte(pod.Annotations["custom-node-selector"]), &want); err != nil {
		return fmt.Errorf("read annotation: %w", err)
	}
	if pod.Spec.NodeSelector == nil {
		pod.Spec.NodeSelector = map[string]string{}
	}
	pod.Spec.NodeSelector[want.Key] = want.Even
	if ordinal%2 == 1 {
		pod.Spec.NodeSelector[want.Key] = want.Odd
	}
	return nil
}

// whenSet is a check that fails until another one comes through the channel.
func whenSet(later <-chan healthz.Checker) healthz.Checker {
	// mu guards check.
	var mu sync.Mutex
	var check healthz.Checker
	return func(r *http.Request) error {
		mu.Lock()
		defer mu.Unlock()
		if check == nil {
			select {
			case check = <-later:
			default:
				return errors.New("no certificate yet")
			}
		}
		return check(r)
	}
}
