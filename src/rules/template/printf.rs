//! Go's `Printf`, `Print` and `Println` for the values that templates have.

use super::format;
use super::value::Value;

/// Wider fields than this are cut: a width is a way to ask for a gigabyte.
const MAX_WIDTH: usize = 1_000;

/// Flags, width and precision of one verb.
#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// `Printf`: mistakes are written into the output, as Go does.
pub(super) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut output = String::new();
    let mut rest = arguments.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            output.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '#' | ' ' | '0')) {
            match flag {
                '-' => spec.minus = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                _ => spec.zero = true,
            }
        }
        spec.width = number(&mut chars);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(&mut chars).unwrap_or(0));
        }
        match chars.next() {
            None => output.push_str("%!(NOVERB)"),
            Some('%') => output.push('%'),
            Some(verb) => match rest.next() {
                None => output.push_str(&format!("%!{verb}(MISSING)")),
                Some(value) => output.push_str(&formatted(verb, &spec, value)),
            },
        }
    }
    let extra: Vec<String> = rest.map(|value| format!("{}={}", value.type_name(), value.print())).collect();
    if !extra.is_empty() {
        output.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    output
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut value = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        let next = value.unwrap_or(0_usize) * 10 + usize::try_from(digit).unwrap_or(0);
        value = Some(next.min(MAX_WIDTH));
    }
    value
}

fn formatted(verb: char, spec: &Spec, value: &Value) -> String {
    if let Value::Named(n, name) = value {
        let named = if matches!(verb, 'v' | 's' | 'q') { Value::text(*name) } else { Value::Int(*n) };
        return formatted(verb, spec, &named);
    }
    let body = match (verb, value) {
        ('v', Value::Float(v)) => signed(spec, *v >= 0.0, format::general(*v, spec.precision)),
        ('v', Value::Int(n)) => signed(spec, *n >= 0, n.to_string()),
        ('v', Value::Text(text)) if spec.sharp => quoted(text),
        ('v', value) => value.print(),
        ('T', value) => value.type_name().to_string(),
        ('t', Value::Bool(b)) => b.to_string(),
        ('s', Value::Text(text)) => cut(text, spec.precision),
        ('s', value @ (Value::Labels(_) | Value::Time(_) | Value::Duration(_))) => value.print(),
        ('q', Value::Text(text)) => quoted(text),
        ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('X', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
        (verb, Value::Int(n)) => match integer(verb, spec, *n) {
            Some(text) => signed(spec, *n >= 0, text),
            None => return mismatch(verb, value),
        },
        (verb, Value::Float(v)) => match float(verb, spec, *v) {
            Some(text) => signed(spec, *v >= 0.0, text),
            None => return mismatch(verb, value),
        },
        (verb, value) => return mismatch(verb, value),
    };
    padded(spec, body, matches!(value, Value::Int(_)) || matches!(value, Value::Float(v) if v.is_finite()))
}

fn mismatch(verb: char, value: &Value) -> String {
    match value {
        Value::Nil => format!("%!{verb}(<nil>)"),
        value => format!("%!{verb}({}={})", value.type_name(), value.print()),
    }
}

fn integer(verb: char, spec: &Spec, n: i64) -> Option<String> {
    let sign = if n < 0 { "-" } else { "" };
    let magnitude = n.unsigned_abs();
    Some(match verb {
        'd' => n.to_string(),
        'b' => format!("{sign}{magnitude:b}"),
        'o' => format!("{sign}{magnitude:o}"),
        'x' if spec.sharp => format!("{sign}{magnitude:#x}"),
        'x' => format!("{sign}{magnitude:x}"),
        'X' => format!("{sign}{magnitude:X}"),
        'c' => u32::try_from(n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER).to_string(),
        'q' => {
            let c = u32::try_from(n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            format!("'{}'", c.escape_default())
        }
        _ => return None,
    })
}

fn float(verb: char, spec: &Spec, v: f64) -> Option<String> {
    Some(match verb {
        'f' | 'F' => format::fixed(v, spec.precision.unwrap_or(6)),
        'e' => format::scientific(v, spec.precision.unwrap_or(6)),
        'E' => format::scientific(v, spec.precision.unwrap_or(6)).to_uppercase(),
        'g' => format::general(v, spec.precision),
        'G' => format::general(v, spec.precision).to_uppercase(),
        _ => return None,
    })
}

/// A number with `+` or a blank in front where the flags ask for it.
fn signed(spec: &Spec, positive: bool, text: String) -> String {
    let bare = text.starts_with(['+', '-']) || !positive;
    match (bare, spec.plus, spec.space) {
        (false, true, _) => format!("+{text}"),
        (false, false, true) => format!(" {text}"),
        _ => text,
    }
}

fn cut(text: &str, precision: Option<usize>) -> String {
    match precision {
        Some(count) => text.chars().take(count).collect(),
        None => text.to_string(),
    }
}

fn padded(spec: &Spec, text: String, numeric: bool) -> String {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    if spec.minus {
        format!("{text}{}", " ".repeat(missing))
    } else if spec.zero && numeric {
        let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        format!("{}{text}", " ".repeat(missing))
    }
}

/// Go's `%q`.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() && u32::from(c) < 0x80 => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// `Print`: blanks only between two operands that are no text.
pub(super) fn print(arguments: &[Value]) -> String {
    let mut output = String::new();
    let mut after_text = true;
    for value in arguments {
        let is_text = matches!(value, Value::Text(_));
        if !after_text && !is_text {
            output.push(' ');
        }
        output.push_str(&value.print());
        after_text = is_text;
    }
    output
}

/// `Println`.
pub(super) fn println(arguments: &[Value]) -> String {
    let parts: Vec<String> = arguments.iter().map(Value::print).collect();
    format!("{}\n", parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_as_go_writes_them() {
        let text = |text: &str| Value::text(text);
        for (format, arguments, expected) in [
            ("%.2f", vec![Value::Float(1.0 / 3.0)], "0.33"),
            ("%5.1f|%-6s|%06.2f", vec![Value::Float(2.25), text("ab"), Value::Float(-1.5)], "  2.2|ab    |-01.50"),
            (
                "%d %x %q %t",
                vec![Value::Int(10), Value::Int(255), text("a\"b"), Value::Bool(true)],
                "10 ff \"a\\\"b\" true",
            ),
            ("%v %v %v", vec![Value::Float(0.5), text("x"), Value::Nil], "0.5 x <nil>"),
            ("%e %g", vec![Value::Float(1500.0), Value::Float(1e21)], "1.500000e+03 1e+21"),
            ("%d%%", vec![Value::Float(5.0)], "%!d(float64=5)%"),
            ("%s", vec![], "%!s(MISSING)"),
            ("x", vec![Value::Int(1)], "x%!(EXTRA int=1)"),
            ("%+d % d", vec![Value::Int(1), Value::Int(2)], "+1  2"),
            ("%", vec![], "%!(NOVERB)"),
        ] {
            assert_eq!(printf(format, &arguments), expected, "{format}");
        }
        assert_eq!(printf("%999999999d", &[Value::Int(1)]).len(), MAX_WIDTH);
    }

    #[test]
    fn print_and_println_space_as_go() {
        let values = [Value::Int(1), Value::Int(2), Value::text("a"), Value::Int(3)];
        assert_eq!(print(&values), "1 2a3");
        assert_eq!(println(&values), "1 2 a 3\n");
    }
}
