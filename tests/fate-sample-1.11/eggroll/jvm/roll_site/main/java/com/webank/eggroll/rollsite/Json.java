package com.webank.eggroll.rollsite;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** JSON as maps, lists and, for all else, strings; as much of it as route tables need: no escapes in strings. */
final class Json {
    private static final Pattern TOKEN = Pattern.compile("\\s*([\\[\\]{},:]|\"[^\"\\\\]*\"|[-+.\\w]+|$)");

    private final Matcher tokens;
    private String token;

    private Json(String text) {
        tokens = TOKEN.matcher(text);
        advance();
    }

    static Object read(String text) {
        Json json = new Json(text);
        Object value = json.value();
        json.expect("");
        return value;
    }

    private Object value() {
        if (skip("{")) {
            Map<String, Object> object = new LinkedHashMap<>();
            while (!skip("}")) {
                separator(object.isEmpty());
                String key = scalar();
                expect(":");
                object.put(key, value());
            }
            return object;
        }
        if (skip("[")) {
            List<Object> array = new ArrayList<>();
            while (!skip("]")) {
                separator(array.isEmpty());
                array.add(value());
            }
            return array;
        }
        return scalar();
    }

    private String scalar() {
        String scalar = token;
        if ("[]{},:".contains(scalar)) {
            throw wrong();
        }
        advance();
        return scalar.replace("\"", "");
    }

    private void separator(boolean first) {
        if (!first) {
            expect(",");
        }
    }

    private void expect(String wanted) {
        if (!skip(wanted)) {
            throw wrong();
        }
    }

    private boolean skip(String wanted) {
        if (!token.equals(wanted)) {
            return false;
        }
        if (!wanted.isEmpty()) {
            advance();
        }
        return true;
    }

    private void advance() {
        if (!tokens.lookingAt()) {
            throw wrong();
        }
        token = tokens.group(1);
        tokens.region(tokens.end(), tokens.regionEnd());
    }

    private IllegalArgumentException wrong() {
        return new IllegalArgumentException("unexpected text before character " + tokens.regionStart());
    }
}
