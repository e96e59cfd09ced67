package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/output"
)

// outputFlag is kubectl's -o.
type outputFlag struct{ output string }

func (o *outputFlag) addFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.output, "output", "o", "table", "output format: "+strings.Join(output.Formats, ", "))
}

func (o *outputFlag) validate() error {
	if !slices.Contains(output.Formats, o.output) {
		return fmt.Errorf("--output=%s: must be one of %s", o.output, strings.Join(output.Formats, ", "))
	}
	return nil
}

// decisionFlags are the flags that decide about a pod. Commands that foresee or repeat what the webhook does take them, too.
type decisionFlags struct{ existingSelector, defaultStatefulSet string }

// addExistingSelector is for such a command.
func (d *decisionFlags) addExistingSelector(f *pflag.FlagSet) {
	f.StringVar(&d.existingSelector, "existing-selector", selectorMerge, "what the webhook was started with: merge or replace")
}

func (d *decisionFlags) replaces() bool { return d.existingSelector == selectorReplace }

func (d *decisionFlags) validate() error {
	var errs []error
	if d.existingSelector != selectorMerge && d.existingSelector != selectorReplace {
		errs = append(errs, fmt.Errorf("--existing-selector=%s: must be %s or %s", d.existingSelector, selectorMerge, selectorReplace))
	}
	if d.defaultStatefulSet != "" {
		if msgs := validation.IsDNS1123Subdomain(d.defaultStatefulSet); len(msgs) > 0 {
			errs = append(errs, fmt.Errorf("--default-statefulset=%s: %s", d.defaultStatefulSet, msgs[0]))
		}
	}
	return errors.Join(errs...)
}

// liveSets are the StatefulSets of a cluster that a command is about: those of names, or all of a namespace, or of all.
type liveSets struct {
	namespace string
	all       bool
	names     []string
}

func (l *liveSets) addAll(f *pflag.FlagSet, usage string) {
	f.BoolVarP(&l.all, "all-namespaces", "A", false, usage)
}

func (l *liveSets) addNamespace(f *pflag.FlagSet, usage string) {
	f.StringVarP(&l.namespace, "namespace", "n", "", usage)
}

// take reads "statefulset", and names of StatefulSets.
func (l *liveSets) take(args []string) error {
	if !slices.Contains([]string{"statefulset", "statefulsets", "sts"}, args[0]) {
		return fmt.Errorf("unexpected argument %s: want statefulset, and perhaps names", quoteArgument(args[0]))
	}
	l.names = args[1:]
	return nil
}

func (l *liveSets) validate() error {
	var errs []error
	if msgs := validation.IsDNS1123Label(l.namespace); l.namespace != "" && len(msgs) > 0 {
		errs = append(errs, fmt.Errorf("--namespace=%s: %s", l.namespace, msgs[0]))
	}
	if l.all && len(l.names) > 0 {
		errs = append(errs, errors.New("--all-namespaces=true: goes with no name"))
	}
	return errors.Join(errs...)
}

// read gets the StatefulSets, in pages.
func (l *liveSets) read(ctx context.Context, cl client.Reader) (sets []appsv1.StatefulSet, err error) {
	if len(l.names) == 0 {
		namespace := l.namespace
		if l.all {
			namespace = ""
		}
		newPage := func() *appsv1.StatefulSetList { return &appsv1.StatefulSetList{} }
		err := listPages(ctx, cl, newPage, func(page *appsv1.StatefulSetList) { sets = append(sets, page.Items...) }, client.InNamespace(namespace))
		if err != nil {
			return nil, fmt.Errorf("list StatefulSets: %w", err)
		}
		return sets, nil
	}
	for _, name := range l.names {
		var set appsv1.StatefulSet
		if err := cl.Get(ctx, client.ObjectKey{Namespace: l.namespace, Name: name}, &set); err != nil {
			return nil, fmt.Errorf("get StatefulSet %s/%s: %w", l.namespace, name, err)
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// pageSize is that of kubectl's own lists.
const pageSize = 500

// listPages lists in pages, so that no answer of the apiserver is large. It fails if the apiserver forgets the state of the first
// page, some minutes later, before the last one is read.
func listPages[L client.ObjectList](ctx context.Context, cl client.Reader, newPage func() L, each func(L), o ...client.ListOption) error {
	for next := ""; ; {
		page := newPage() // an item that is decoded over another one could keep entries of its maps
		if err := cl.List(ctx, page, append(slices.Clone(o), client.Limit(pageSize), client.Continue(next))...); err != nil {
			return err
		}
		each(page)
		if next = page.GetContinue(); next == "" {
			return nil
		}
	}
}
