// Reads a ValidatingAdmissionPolicy and requests as JSON, and prints for each request why the API server would refuse
// it: a list of messages, empty where it is allowed.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
)

// A request to make an object, or to change one that was there before.
type request struct {
	User        string              `json:"user"`
	Extra       map[string][]string `json:"extra"`
	Resource    string              `json:"resource"`
	Subresource string              `json:"subresource"`
	Name        string              `json:"name"`
	Namespace   string              `json:"namespace"`
	Before      *json.RawMessage    `json:"before"`
	After       json.RawMessage     `json:"after"`
}

// kinds are the objects that there are policies about, as the API server has them when it asks.
var kinds = runtime.NewScheme()

func init() {
	for _, add := range []func(*runtime.Scheme) error{core.AddToScheme, policy.AddToScheme} {
		if err := add(kinds); err != nil {
			log.Fatal(err)
		}
	}
}

func object(text json.RawMessage) (runtime.Object, schema.GroupVersionKind) {
	var of meta.TypeMeta
	if err := json.Unmarshal(text, &of); err != nil {
		log.Fatal(err)
	}
	made, err := kinds.New(of.GroupVersionKind())
	if err != nil {
		log.Fatal(err)
	}
	if err := json.Unmarshal(text, made); err != nil {
		log.Fatal(err)
	}
	return made, of.GroupVersionKind()
}

type question struct {
	Policy   admissionregistration.ValidatingAdmissionPolicy `json:"policy"`
	Requests []request                                       `json:"requests"`
}

func main() {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatal(err)
	}
	judge := compiled(&asked.Policy)
	answers := make([][]string, 0, len(asked.Requests))
	for index := range asked.Requests {
		answers = append(answers, refusals(judge, &asked.Requests[index]))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}

// compiled does what the API server does with a policy when it is created.
func compiled(asked *admissionregistration.ValidatingAdmissionPolicy) validating.Validator {
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		log.Fatal(err)
	}
	options, mode := cel.OptionalVariableDeclarations{}, environment.StoredExpressions
	for _, each := range asked.Spec.Variables {
		compiler.CompileAndStoreVariable(&validating.Variable{Name: each.Name, Expression: each.Expression}, options, mode)
	}
	conditions := make([]cel.ExpressionAccessor, 0, len(asked.Spec.MatchConditions))
	for _, each := range asked.Spec.MatchConditions {
		conditions = append(conditions, &matchconditions.MatchCondition{Name: each.Name, Expression: each.Expression})
	}
	validations := make([]cel.ExpressionAccessor, 0, len(asked.Spec.Validations))
	for _, each := range asked.Spec.Validations {
		validations = append(validations, &validating.ValidationCondition{
			Expression: each.Expression, Message: each.Message, Reason: each.Reason,
		})
	}
	failure := asked.Spec.FailurePolicy
	return validating.NewValidator(
		compiler.CompileCondition(validations, options, mode),
		matchconditions.NewMatcher(compiler.CompileCondition(conditions, options, mode), failure, "policy", "validate", asked.Name),
		compiler.CompileCondition(nil, options, mode),
		compiler.CompileCondition(make([]cel.ExpressionAccessor, len(validations)), options, mode),
		failure,
		nil,
	)
}

func refusals(judge validating.Validator, asked *request) []string {
	after, kind := object(asked.After)
	resource := schema.GroupVersionResource{Group: "", Version: "v1", Resource: asked.Resource}
	who := &user.DefaultInfo{Name: asked.User, Extra: asked.Extra}
	operation, options := admission.Create, runtime.Object(&meta.CreateOptions{})
	var before runtime.Object
	if asked.Before != nil {
		before, _ = object(*asked.Before)
		operation, options = admission.Update, &meta.UpdateOptions{}
	}
	attributes := admission.NewAttributesRecord(
		after, before, kind, asked.Namespace, asked.Name, resource, asked.Subresource, operation, options, false, who,
	)
	versioned := &admission.VersionedAttributes{
		Attributes: attributes, VersionedKind: kind, VersionedObject: after, VersionedOldObject: before,
	}
	result := judge.Validate(context.Background(), resource, versioned, nil, nil, celconfig.RuntimeCELCostBudget, nil)
	messages := []string{}
	for _, each := range result.Decisions {
		if each.Action == validating.ActionDeny {
			messages = append(messages, each.Message)
		}
	}
	return messages
}
