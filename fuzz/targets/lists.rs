//! GPU and CPU lists, and the other small values people type: what is read is
//! shown in a form that reads back as the same.

#![no_main]

mod machine;

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use run_docker_core::types::{
    ContainerName, CpuList, CpuSelector, GpuSelector, ImageReference, MemorySize, PortMapping, Template,
    TemplateValues, Ulimit,
};

/// parse, show and parse again give the same.
fn round_trip<T: FromStr<Err = E> + Display + PartialEq + Debug, E: Debug>(text: &str) -> Option<T> {
    let value = text.parse::<T>().ok()?;
    let shown = value.to_string();
    assert_eq!(
        shown.parse::<T>().unwrap_or_else(|e| panic!("{text:?} shown as {shown:?}: {e:?}")),
        value,
        "{text:?}"
    );
    Some(value)
}

fuzz_target!(|text: &str| {
    let host = machine::host();
    if let Some(list) = round_trip::<CpuList, _>(text) {
        let all = &host.cpus;
        assert_eq!(list.intersection(all).len() + list.difference(all).len(), list.len());
    }
    let _ = text.parse::<CpuSelector>();
    if let Some(gpus) = round_trip::<GpuSelector, _>(text) {
        let _ = gpus.check(&host.gpus);
    }
    round_trip::<MemorySize, _>(text);
    round_trip::<Ulimit, _>(text);
    round_trip::<ImageReference, _>(text);
    for port in PortMapping::parse(text).into_iter().flatten() {
        assert_eq!(PortMapping::parse(&port.to_string()).unwrap(), [port]);
    }
    let default = ImageReference::default_for(text);
    assert!(default.as_str().parse::<ImageReference>().is_ok(), "{default}");
    let name = ContainerName::sanitized(text);
    assert_eq!(ContainerName::parse(name.as_str()).unwrap(), name);
    if let Ok(template) = Template::parse(text) {
        let values =
            TemplateValues { user: text, gpu: text, cpu: text, project: text, host: text, now: host.now };
        let name = template.render(&values);
        assert!(ContainerName::parse(name.as_str()).is_ok(), "{name}");
    }
});
