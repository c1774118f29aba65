-- Must be rejected although Lean exits with 0: the proof rests on an axiom that says it all.
prelude

inductive Absurd : Prop

axiom trust_me : Absurd

theorem injected_axiom (P : Type) (le : P → P → Prop) (x y : P) (xy : le x y) : Absurd :=
  trust_me

#print axioms injected_axiom
