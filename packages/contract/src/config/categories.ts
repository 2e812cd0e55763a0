/** Which targets have which category. */
import { z } from "zod";
import { categories as names } from "../changeSets.js";
import { limits } from "../limits.js";
import { configurationDocument, targetPattern } from "./parts.js";

export const categoriesConfiguration = z
  .strictObject({
    rules: z
      .array(z.strictObject({ category: z.enum(names), targets: z.array(targetPattern).min(1).max(limits.grantsMax) }))
      .max(100),
  })
  .meta({
    id: "CategoriesConfiguration",
    description: "Read from the top; the first rule that matches a target gives its category, none: OTHER.",
  });

/** Holds while the document is absent. */
export const categories = configurationDocument(categoriesConfiguration, {
  rules: [
    {
      category: "SECURITY",
      targets: [
        "resource:*:SECURITY*:**",
        "resource:*:*POLICY*:**",
        "resource:*:ROLE*:**",
        "file:*:**/.env",
        "file:*:**/.env.*",
        "file:*:**/*.pem",
        "file:*:**/*.key",
        "file:*:**/secrets/**",
        "file:*:**/security/**",
        "file:*:**/CODEOWNERS",
      ],
    },
    {
      category: "COMPLIANCE",
      targets: [
        "resource:*:COMPLIANCE*:**",
        "resource:*:AUDIT*:**",
        "resource:*:RETENTION*:**",
        "file:*:**/compliance/**",
      ],
    },
    {
      category: "INFRASTRUCTURE",
      targets: [
        "resource:*:INFRA*:**",
        "resource:*:DEPLOYMENT*:**",
        "resource:*:SYSTEM*:**",
        "file:*:.github/**",
        "file:*:.gitlab-ci.yml",
        "file:*:.circleci/**",
        "file:*:**/Jenkinsfile",
        "file:*:**/Dockerfile*",
        "file:*:**/docker-compose*",
        "file:*:**/compose.y*ml",
        "file:*:**/*.tf",
        "file:*:**/*.tfvars",
        "file:*:**/terraform/**",
        "file:*:**/k8s/**",
        "file:*:**/helm/**",
        "file:*:**/infra/**",
      ],
    },
    {
      category: "INTEGRATION",
      targets: [
        "resource:*:INTEGRATION*:**",
        "resource:*:WEBHOOK*:**",
        "resource:*:CONNECTOR*:**",
        "file:*:**/integrations/**",
        "file:*:**/webhooks/**",
      ],
    },
    {
      category: "API_CHANGE",
      targets: [
        "resource:*:API*:**",
        "resource:*:*ENDPOINT*:**",
        "resource:*:SCHEMA*:**",
        "file:*:**/openapi*",
        "file:*:**/*.graphql",
        "file:*:**/*.proto",
        "file:*:**/api/**",
        "file:*:**/migrations/**",
        "file:*:**/*.sql",
      ],
    },
    {
      category: "DESIGN_SYSTEM",
      targets: [
        "resource:*:*TOKEN*:**",
        "resource:*:DESIGN*:**",
        "resource:*:THEME*:**",
        "file:*:**/tokens/**",
        "file:*:**/design-system/**",
        "file:*:**/themes/**",
      ],
    },
    {
      category: "UI_LAYOUT",
      targets: [
        "resource:*:COMPONENT*:**",
        "resource:*:*LAYOUT*:**",
        "resource:*:PAGE*:**",
        "resource:*:SCENE*:**",
        "resource:*:UI*:**",
        "file:*:**/components/**",
        "file:*:**/layouts/**",
        "file:*:**/pages/**",
        "file:*:**/*.css",
        "file:*:**/*.scss",
        "file:*:**/*.html",
        "file:*:**/*.vue",
        "file:*:**/*.svelte",
        "file:*:**/*.tsx",
        "file:*:**/*.jsx",
      ],
    },
    {
      category: "CONFIG_UPDATE",
      targets: [
        "resource:*:*CONFIG*:**",
        "resource:*:SETTING*:**",
        "resource:*:FEATURE*:**",
        "file:*:**/config/**",
        "file:*:**/*.json",
        "file:*:**/*.jsonc",
        "file:*:**/*.yaml",
        "file:*:**/*.yml",
        "file:*:**/*.toml",
        "file:*:**/*.ini",
      ],
    },
  ],
});
